"""The models of clips, clips made of photos, and their training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from condgen_caption.clips import MovingPhotos, PhotoClips, PhotoPath, flickr8k_clips
from condgen_caption.metrics import Grounding
from condgen_caption.objective import ExpectedReward
from condgen_caption.video import FrameVectors, VideoConfig, VideoModel
from condgen_caption.video_data import msr_vtt, msvd
from condgen_caption.video_training import VideoExperiment
from condgen_cli.data.text import WordVocabulary
from condgen_cli.data.video import Clip, load_clip
from condgen_cli.errors import IntegrityError, NotFoundError
from condgen_cli.generation import AttentionMap, Axis, Generation
from condgen_cli.model import Item
from condgen_cli.running.runner import load
from condgen_cli.testing import check_model
from condgen_cli.training import build_experiment, parse_recipe, train

SMALL: dict[str, Any] = {
    "encoder": "lite0",
    "image_size": 64,
    "embedding_size": 8,
    "hidden_size": 8,
    "value_size": 8,
    "match_size": 8,
    "frames": 4,
}
COLOURS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}


def make(**options: Any) -> VideoModel:
    torch.manual_seed(0)
    return VideoModel(VideoConfig(**SMALL | options), WordVocabulary(["a", "cat", "sits", "then"])).eval()


def clip(*names: str) -> Item:
    frames = tuple(Image.new("RGB", (40, 30), COLOURS[name]) for name in names)
    times = tuple(index / 2 for index in range(len(names)))
    return Item("+".join(names), Clip(frames, times, len(names) / 2))


# The model


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "sat"},
        {"kind": "sat", "recurrent_size": 4},
        {"kind": "sat", "match": "dot", "gate": False},
        {"kind": "nic"},
        {"kind": "nic", "feed": "first"},
    ],
)
def test_follows_the_contract(options: dict[str, Any]) -> None:
    check_model(make(**options), [clip("red", "green"), clip("blue"), clip("red", "blue", "green", "red")])


def test_attention_lies_on_the_frames_that_are_there() -> None:
    model = make(recurrent_size=4)
    with torch.inference_mode():
        memory = model.encode(model.collate([clip("red", "green", "blue"), clip("red")]))
    assert [axes[0].kind for axes in memory.axes] == ["frames", "frames"]
    assert [axes[0].labels for axes in memory.axes] == [(0.0, 0.5, 1.0), (0.0,)]
    assert memory.mask is not None
    assert memory.mask.tolist() == [[True, True, True], [True, False, False]]


@pytest.mark.parametrize("options", [{"kind": "nic"}, {"kind": "sat"}, {"kind": "sat", "recurrent_size": 4}])
def test_a_longer_neighbour_in_the_batch_changes_nothing(options: dict[str, Any]) -> None:
    model = make(**options)
    short, long = clip("red", "green"), clip("blue", "green", "red", "red")
    with torch.inference_mode():
        alone, beside = model.encode(model.collate([short])), model.encode(model.collate([short, long]))
    positions = alone.values.shape[1]
    torch.testing.assert_close(beside.values[:1, :positions], alone.values)
    torch.testing.assert_close(beside.vector[:1], alone.vector)


def test_what_pads_the_vectors_is_never_read() -> None:
    model = make(recurrent_size=4)
    vectors = torch.randn(1, 3, 1280)
    padded = torch.cat([vectors, torch.full((1, 2, 1280), torch.nan)], 1)
    with torch.inference_mode():
        memory = model.recall(FrameVectors(padded, torch.tensor([3])))
        plain = model.recall(FrameVectors(vectors, torch.tensor([3])))
    torch.testing.assert_close(memory.values[:, :3], plain.values)
    assert memory.values.isfinite().all()


def test_only_the_recurrent_layer_knows_the_order_of_frames() -> None:
    forth, back = clip("red", "green", "blue"), clip("blue", "green", "red")
    for size, same in ((0, True), (4, False)):
        model = make(recurrent_size=size)
        with torch.inference_mode():
            first, second = (model.encode(model.collate([item])).values for item in (forth, back))
        assert torch.allclose(first, second.flip(1), atol=1e-5) is same


def test_the_mean_does_not_know_how_often_it_was_taken() -> None:
    model = make(kind="nic")
    with torch.inference_mode():
        once, twice = (
            model.encode(model.collate([item])) for item in (clip("red", "blue"), clip("red", "red", "blue", "blue"))
        )
    torch.testing.assert_close(once.vector, twice.vector)


def test_long_clips_are_thinned_and_photos_are_clips() -> None:
    model = make()
    batch = model.collate([clip(*["red", "green", "blue"] * 3), Item("photo", Image.new("RGB", (50, 50), "red"))])
    assert batch.counts.tolist() == [4, 1]
    assert batch.pixels.shape == (5, 3, 64, 64)
    assert batch.pixels.dtype == torch.uint8


# Clips made of photos


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos of coloured cards in Flickr8k's layout, two captions each."""
    folder, texts = tmp_path / "flickr8k" / "Flicker8k_Dataset", tmp_path / "flickr8k" / "Flickr8k_text"
    folder.mkdir(parents=True)
    texts.mkdir()
    rng = np.random.default_rng(0)
    captions = []
    for split, count in (("train", 24), ("dev", 6), ("test", 3)):
        names = [f"{split}{index}.jpg" for index in range(count)]
        (texts / f"Flickr_8k.{split}Images.txt").write_text("\n".join(names) + "\n")
        for index, name in enumerate(names):
            word, colour = list(COLOURS.items())[index % 3]
            pixels = np.clip(np.array(colour) + rng.integers(-15, 16, (40, 50, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name)
            captions += [f"{name}#0\tA {word} card .", f"{name}#1\tThe {word} card ."]
    (texts / "Flickr8k.token.txt").write_text("\n".join(captions) + "\n")
    return tmp_path


def stills(count: int) -> list[Item]:
    image = Image.linear_gradient("L").convert("RGB").resize((60, 40))
    return [Item(f"p{index}", image, (f"first {index} .", f"second {index}."), source=f"{index}.jpg") for index in range(count)]


def test_references_tell_scenes_in_order_and_frames_know_theirs() -> None:
    for item in PhotoClips(stills(9), "3"):
        ids = item.id.split("+")
        assert len(set(ids)) == 3
        numbers = [one[1:] for one in ids]
        assert item.references == (
            " then ".join(f"first {number}" for number in numbers),
            " then ".join(f"second {number}" for number in numbers),
        )
        scenes = item.meta["scenes"]
        assert list(scenes) == sorted(scenes)
        assert set(scenes) == {0, 1, 2}
        made = load_clip(item.condition)
        assert made.decoded == len(scenes)
        assert len(made.frames) == min(len(scenes), 16)
        assert {frame.size for frame in made.frames} == {(60, 40)}


def test_clips_are_the_same_each_time_and_others_in_each_epoch() -> None:
    photos = stills(12)
    first, again = PhotoClips(photos), PhotoClips(photos)
    assert [item.condition for item in first] == [item.condition for item in again]
    later = first.redraw(1)
    assert [item.condition for item in first] != [item.condition for item in later]
    assert [item.id.split("+")[0] for item in later] == [photo.id for photo in photos]
    assert {item.group for item in first} == {"1 scene", "2 scenes", "3 scenes"}
    assert {item.group for item in PhotoClips(photos, "1")} == {"1 scene"}
    assert np.array_equal(load_clip(first[2].condition).frames[1], load_clip(again[2].condition).frames[1])


def test_the_camera_moves_to_neighbouring_places_inside_the_photo() -> None:
    for item in PhotoClips(stills(30)):
        for (scene, place), (other, following) in zip(item.condition.positions, item.condition.positions[1:], strict=False):
            assert abs(following - place) == 1 or other != scene
    for index in range(50):
        boxes = PhotoPath(str(index), None).boxes()
        for left, upper, right, lower in boxes:
            assert 0 <= left < right <= 1 + 1e-9
            assert 0 <= upper < lower <= 1 + 1e-9
            assert right - left >= 0.7
        steps = np.diff(np.array(boxes), axis=0)
        np.testing.assert_allclose(steps, np.broadcast_to(steps[0], steps.shape), atol=1e-9)


def test_flickr8k_clips_are_of_the_photos_of_their_split(photos: Path) -> None:
    items = list(flickr8k_clips(photos, "test", "2"))
    assert len(items) == 3
    assert all(one.startswith("test") for item in items for one in item.id.split("+"))
    assert items[0].references[0].startswith("A red card then A ")
    assert isinstance(items[0].condition, MovingPhotos)


# Grounding


def written(tokens: list[str], weights: list[list[float]]) -> Generation:
    steps = Axis("token", "tokens", tuple(tokens))
    frames = Axis("frame", "frames", tuple(map(float, range(len(weights[0])))))
    return Generation("", tuple(tokens), attention={"attention": AttentionMap(np.array(weights, np.float32), (steps, frames))})


def grounding(scenes: tuple[int, ...], generation: Generation) -> tuple[float, float, float]:
    metric = Grounding()
    row = metric.statistics([Item("x", None, ("y",), meta={"scenes": scenes})], [generation])
    scores = metric.score(row.sum(0), 1)
    return float(scores["grounding"]), float(scores["grounding_chance"]), float(row[0, 2])


def test_grounding_is_the_attention_on_the_frames_of_a_words_scene() -> None:
    weights = [[0.8, 0.1, 0.1], [0.2, 0.2, 0.6], [0.1, 0.4, 0.5], [0.3, 0.5, 0.2], [1, 0, 0]]
    value, chance, words = grounding((0, 1, 1), written(["a", "dog", "then", "cat", "<eos>"], weights))
    assert value == pytest.approx(100 * (0.8 + 0.2 + 0.7) / 3)
    assert chance == pytest.approx(100 * (1 / 3 + 1 / 3 + 2 / 3) / 3)
    assert words == 3


def test_words_of_scenes_that_are_not_there_are_wrong() -> None:
    weights = [[1, 0], [0.5, 0.5], [0, 1], [0.5, 0.5], [0, 1]]
    value, _, words = grounding((0, 1), written(["a", "then", "b", "then", "c"], weights))
    assert (value, words) == (pytest.approx(100 * 2 / 3), 3)


def test_clips_of_one_scene_and_models_without_attention_do_not_count() -> None:
    assert np.isnan(grounding((0, 0), written(["a"], [[0.5, 0.5]]))[0])
    assert np.isnan(grounding((0, 1), Generation("a", ("a",)))[0])


def test_scenes_are_thinned_as_frames_are() -> None:
    value, chance, _ = grounding((0, 0, 0, 0, 1, 1), written(["a"], [[0.6, 0.3, 0.1]]))
    assert value == pytest.approx(90)
    assert chance == pytest.approx(100 * 2 / 3)


# Training


RECIPE = """
name = "cards"
task = "caption"
init = "efficientnet-lite2"
[model]
architecture = "caption-video"
kind = "sat"
encoder = "lite2"
image_size = 64
frames = 16
recurrent_size = 8
embedding_size = 16
hidden_size = 16
value_size = 16
match_size = 8
dropout = 0.0
feature_dropout = 0.0
[data]
dataset = "flickr8k-clips"
scenes = "2"
min_count = 1
[decoding]
beam = 1
max_length = 10
[training]
epochs = 2
batch_size = 8
lr = 0.01
metric = "cider"
"""


def experiment(photos: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> tuple[Any, VideoExperiment]:
    monkeypatch.setenv("CONDGEN_HOME", str(photos / "home"))
    monkeypatch.chdir(photos)
    recipe = parse_recipe(RECIPE, "cards.toml", overrides)
    built = build_experiment(recipe, photos, photos / "run")
    assert isinstance(built, VideoExperiment)
    return recipe, built


def test_what_comes_first_is_learnt(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    _, built = experiment(photos, monkeypatch)
    optimizer = torch.optim.Adam((p for p in built.model.parameters() if p.requires_grad), lr=0.02)
    for epoch in range(36):
        for batch in built.batches(epoch):
            loss, _ = built.objective(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    built.model.eval()
    with torch.inference_mode():
        assert built.evaluate()["bleu4"] > 75


def test_a_run_gives_a_model_and_another_goes_on_from_it(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, built = experiment(photos, monkeypatch, "training.epochs=1")
    assert train(recipe, built, photos / "run").steps == 3
    runner = load(photos / "run")
    generation = runner(clip("red", "red", "blue", "blue").condition)
    assert generation.attention["attention"].positions[0].labels == (0.0, 0.5, 1.0, 1.5)
    _, baseline = experiment(photos, monkeypatch, "init=run", "model.kind=nic")
    assert baseline.model.vocabulary.tokens == built.model.vocabulary.tokens
    assert baseline.model.decoder.attention is None
    assert baseline.model.recurrent is not None
    torch.testing.assert_close(baseline.model.recurrent.weight_ih_l0, runner.model.recurrent.weight_ih_l0)


def test_rewards_are_of_the_clips_that_were_seen(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every epoch makes other clips: each is rewarded against its own captions, which are worth more than any other's."""
    recipe, built = experiment(photos, monkeypatch, "objective.kind=reward", "objective.bleu=1.0", "training.epochs=1")
    assert isinstance(built.objective, ExpectedReward)
    for epoch in (1, 2):
        for batch in built.batches(epoch):
            references = batch.references()
            words = [{built.model.vocabulary.decode(row[:-1]) for row in rows} for rows in references]
            clips = built.train.redraw(epoch)
            assert words == [{text.lower() for text in clips[index].references} for index in batch.photos.tolist()]
            own, *others = (built.objective.reward(references[0], rows)[0] for rows in references)
            assert all(other < own for other, rows in zip(others, references[1:], strict=True) if rows != references[0])
    assert train(recipe, built, photos / "run").steps == 3


def test_kept_vectors_are_what_the_model_sees(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, built = experiment(photos, monkeypatch, "data.scenes=mixed", "model.frames=5")
    model = built.model.eval()
    items = [next(item for item in built.train if item.group == "3 scenes"), built.train[0]]
    with torch.inference_mode():
        seen, kept = model.encode(model.collate(items)), model.recall(built.vectors.of(items))
    torch.testing.assert_close(seen.values, kept.values, atol=2e-2, rtol=1e-2)
    assert seen.mask is not None
    assert torch.equal(seen.mask, kept.mask)


def test_batches_depend_on_seed_and_epoch_alone(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, built = experiment(photos, monkeypatch)
    first, again, later = ([data.targets.tolist() for data in built.batches(epoch)] for epoch in (0, 0, 1))
    assert first == again != later


def test_a_model_of_photos_gets_the_word_between_scenes(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, built = experiment(photos, monkeypatch, "init=sat", "model.image_size=32", *_AS_SAT)
    tokens = built.model.vocabulary.tokens
    assert tokens[-1] == "then"
    photo = load("sat", backend="torch").model
    assert tokens[:-1] == photo.vocabulary.tokens
    torch.testing.assert_close(built.model.decoder.embedding.weight[:-1], photo.decoder.embedding.weight.float())


_AS_SAT = [f"model.{name}={size}" for name, size in {"embedding_size": 512, "hidden_size": 512, "value_size": 512}.items()]
_AS_SAT += ["model.match_size=256", "data.limit=4", "data.dev_limit=2"]


# Readers


def test_msvd_in_its_publishers_layout(tmp_path: Path) -> None:
    (tmp_path / "YouTubeClips").mkdir()
    for name in ("abc_1_2", "-x_3_9"):
        (tmp_path / "YouTubeClips" / f"{name}.avi").write_bytes(b"RIFF")
    (tmp_path / "AllVideoDescriptions.txt").write_text("# notes\n\nabc_1_2 a man runs\nabc_1_2 he runs\n-x_3_9 a cat\n")
    train = msvd(tmp_path, "train")
    assert [(item.id, item.references) for item in train] == [("-x_3_9", ("a cat",)), ("abc_1_2", ("a man runs", "he runs"))]
    (tmp_path / "youtube_mapping.txt").write_text("abc_1_2 vid1\n-x_3_9 vid1301\n")
    assert [item.id for item in msvd(tmp_path, "train")] == ["abc_1_2"]
    assert [item.id for item in msvd(tmp_path, "test")] == ["-x_3_9"]
    assert msvd(tmp_path, "dev") == []
    (tmp_path / "YouTubeClips" / "-x_3_9.avi").unlink()
    with pytest.raises(NotFoundError, match="lacks 1 of the split's 1 videos, such as -x_3_9"):
        msvd(tmp_path, "test")


def test_msvd_from_the_corpus_table(tmp_path: Path) -> None:
    (tmp_path / "v_0_5.avi").write_bytes(b"RIFF")
    heading = "VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description"
    rows = ['v,0,5,1,clean,9,English,"A dog, a cat"', "v,0,5,1,clean,9,German,Ein Hund", "v,0,5,1,clean,9,English,"]
    (tmp_path / "video_corpus.csv").write_text("\n".join([heading, *rows]))
    assert [item.references for item in msvd(tmp_path, "train")] == [("A dog, a cat",)]
    (tmp_path / "video_corpus.csv").write_text("VideoID,Start\nv,0\n")
    with pytest.raises(IntegrityError, match="lacks a column"):
        msvd(tmp_path, "train")


def test_msr_vtt_in_its_publishers_layout(tmp_path: Path) -> None:
    (tmp_path / "TrainValVideo").mkdir()
    for name in ("video0", "video1"):
        (tmp_path / "TrainValVideo" / f"{name}.mp4").write_bytes(b"")
    document = {
        "videos": [{"video_id": "video0", "split": "train"}, {"video_id": "video1", "split": "validate"}],
        "sentences": [
            {"video_id": "video1", "caption": "a car"},
            {"video_id": "video0", "caption": "a man"},
            {"video_id": "video0", "caption": "someone"},
        ],
    }
    path = tmp_path / "train_val_videodatainfo.json"
    path.write_text(json.dumps(document))
    assert [(item.id, item.references) for item in msr_vtt(tmp_path, "train")] == [("video0", ("a man", "someone"))]
    assert [item.id for item in msr_vtt(tmp_path, "dev")] == ["video1"]
    path.write_text("[]")
    with pytest.raises(IntegrityError, match="is not as published"):
        msr_vtt(tmp_path, "train")
