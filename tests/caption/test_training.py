"""Training the caption models: objectives, batches, and a whole run on generated photos."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from condgen_caption.cnn import normalise
from condgen_caption.model import CaptionConfig, CaptionModel
from condgen_caption.objective import CrossEntropy, ExpectedReward, TrainingBatch
from condgen_caption.reward import CiderReward
from condgen_caption.training import CaptionExperiment
from condgen_cli.data.text import WordVocabulary
from condgen_cli.errors import UsageError
from condgen_cli.model import Item
from condgen_cli.running.decoding import Decoding, decode
from condgen_cli.running.runner import load
from condgen_cli.training import build_experiment, parse_recipe, train
from condgen_cli.training.batches import teacher_forcing

SMALL: dict[str, Any] = {"encoder": "lite0", "image_size": 64, "embedding_size": 12, "hidden_size": 12, "value_size": 12}
VOCABULARY = WordVocabulary(["a", "red", "green", "blue", "card"])


def make(**options: Any) -> CaptionModel:
    torch.manual_seed(0)
    return CaptionModel(CaptionConfig(**SMALL, dropout=0.0, feature_dropout=0.0, **options), VOCABULARY)


def batch(captions: list[list[int]], photos: int) -> TrainingBatch:
    inputs, targets, lengths = teacher_forcing(captions, VOCABULARY.bos, VOCABULARY.eos, VOCABULARY.pad)
    return TrainingBatch(torch.rand(photos, 320, 2, 2), inputs, targets, lengths, torch.arange(photos))


def test_captions_are_padded() -> None:
    inputs, targets, lengths = teacher_forcing([[7, 8], [9]], bos=1, eos=2, pad=0)
    assert inputs.tolist() == [[1, 7, 8], [1, 9, 0]]
    assert targets.tolist() == [[7, 8, 2], [9, 2, 0]]
    assert lengths.tolist() == [3, 2]


@pytest.mark.parametrize("kind", ["sat", "nic"])
def test_cross_entropy_is_that_of_the_forward_pass_without_padding(kind: str) -> None:
    model = make(kind=kind).eval()
    data = batch([[4, 5, 8], [6, 8], [4, 7, 8], [8]], photos=2)
    loss, stats = CrossEntropy(model, cut=7, label_smoothing=0.1, doubly_stochastic=0.0)(data)
    memory = model.memorise(model.encoder(data.features, 7))
    logits = model(memory, data.inputs).flatten(0, 1)
    expected = F.cross_entropy(logits, data.targets.flatten(), ignore_index=VOCABULARY.pad, label_smoothing=0.1)
    torch.testing.assert_close(loss, expected)
    assert stats["tokens"] == 4 + 3 + 4 + 2


def test_doubly_stochastic_attention_is_penalised_by_how_unevenly_cells_are_read() -> None:
    model = make(kind="sat").eval()
    data = batch([[4, 5, 8], [6, 8]], photos=2)
    with torch.no_grad():
        plain, _ = CrossEntropy(model, 7, doubly_stochastic=0.0)(data)
        penalised, _ = CrossEntropy(model, 7, doubly_stochastic=2.0)(data)
        memory = model.memorise(model.encoder(data.features, 7))
        state, total = model.start(memory), torch.zeros(2, 4)
        for position in range(data.inputs.shape[1]):
            step = model.step(data.inputs[:, position], state, memory)
            state = step.state
            total += step.attention["attention"] * (data.lengths > position).unsqueeze(1)
    uneven = ((total - data.lengths.unsqueeze(1) / 4) ** 2).sum(1).mean()
    torch.testing.assert_close(penalised - plain, 2.0 * uneven, atol=1e-4, rtol=1e-3)


def test_self_critical_training_finds_the_rewarded_captions() -> None:
    model = make(kind="nic")
    references = [[[4, 5, 8]], [[4, 6, 8]], [[4, 7, 8]]]
    eos = VOCABULARY.eos
    reward = CiderReward([[[*ids, eos] for ids in photo] for photo in references])
    objective = ExpectedReward(model, 7, reward, samples=16, max_length=6)
    data = replace(batch([ids for photo in references for ids in photo], photos=3), features=100 * torch.randn(3, 320, 2, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    rewards = []
    for _ in range(40):
        loss, stats = objective(data)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rewards.append(float(stats["reward"]))
    assert np.mean(rewards[-5:]) > np.mean(rewards[:5]) + 0.8


def test_the_end_of_a_cut_sample_is_not_pushed() -> None:
    """Every sample of at most one token is cut, so the loss is that of first tokens alone, whatever comes after them."""
    model = make(kind="nic").eval()
    objective = ExpectedReward(
        model, 7, lambda _, captions: [float(caption[0]) for caption in captions], samples=4, max_length=1
    )
    data = batch([[4], [5]], photos=2)
    torch.manual_seed(3)
    loss, stats = objective(data)
    memory = model.memorise(model.encoder(data.features, 7))
    torch.manual_seed(3)
    drawn = [[one.ids[0] for one in found] for found in decode(model, memory, Decoding("sample", nbest=4, max_length=1))]
    logits = model(memory, torch.full((2, 1), VOCABULARY.bos))[:, 0]
    logits[:, [VOCABULARY.pad, VOCABULARY.bos, VOCABULARY.unk]] = -torch.inf
    log_probs = logits.log_softmax(-1)
    expected = torch.zeros(())
    for photo, tokens in enumerate(drawn):
        for token in tokens:
            others = (sum(tokens) - token) / 3
            expected = expected - (token - others) * log_probs[photo, token]
    torch.testing.assert_close(loss, expected / stats["tokens"])


def test_tokens_that_are_never_drawn_are_not_pushed_either() -> None:
    """Else the unknown token would gather the probability that bad captions lose, until nothing else is likely."""
    model = make(kind="nic").eval()
    objective = ExpectedReward(model, 7, lambda _, captions: list(map(float, map(len, captions))), samples=4, max_length=5)
    loss, _ = objective(batch([[4], [5]], photos=2))
    loss.backward()
    gradient = model.decoder.bias.grad
    assert gradient is not None
    assert gradient[VOCABULARY.eos] != 0
    assert not gradient[[VOCABULARY.pad, VOCABULARY.bos, VOCABULARY.unk]].any()


COLOURS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}


@pytest.fixture
def cards(tmp_path: Path) -> Path:
    """Photos of coloured cards in the layout of a captioned folder."""
    folder = tmp_path / "captioned-folder"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = []
    for split, count in (("train", 24), ("dev", 6)):
        for index in range(count):
            name, colour = list(COLOURS.items())[index % 3]
            noise = rng.integers(-15, 16, (40, 50, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{split}{index}.png")
            side = ", on the left" if index == 0 else ""
            captions = [f"A {name} card{side}.", f"The {name} card."]
            lines.append(json.dumps({"image": f"{split}{index}.png", "captions": captions, "split": split}))
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


RECIPE = """
name = "cards"
task = "caption"
init = "efficientnet-lite2"
[model]
architecture = "caption"
kind = "sat"
encoder = "lite2"
image_size = 64
embedding_size = 16
hidden_size = 16
value_size = 16
match_size = 8
dropout = 0.0
feature_dropout = 0.0
[data]
dataset = "captioned-folder"
min_count = 1
[decoding]
beam = 2
max_length = 8
[training]
epochs = 30
batch_size = 8
lr = 0.02
metric = "cider"
"""


def experiment(cards: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> tuple[Any, CaptionExperiment]:
    monkeypatch.setenv("CONDGEN_HOME", str(cards / "home"))
    monkeypatch.chdir(cards)
    recipe = parse_recipe(RECIPE, "cards.toml", overrides)
    built = build_experiment(recipe, cards, cards / "run")
    assert isinstance(built, CaptionExperiment)
    return recipe, built


def test_a_run_learns_colours_and_its_model_loads(cards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, built = experiment(cards, monkeypatch, "training.epochs=12")
    summary = train(recipe, built, cards / "run")
    assert summary.best is not None
    assert summary.best > 4
    runner = load(cards / "run")
    captions = {name: runner(Image.new("RGB", (64, 64), colour)).output for name, colour in COLOURS.items()}
    assert all(name in caption for name, caption in captions.items()), captions
    assert runner(str(cards / "captioned-folder" / "dev0.png")).attention["attention"].weights.shape[1:] == (2, 2)


def test_self_critical_training_goes_on_from_a_run(cards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, built = experiment(cards, monkeypatch, "training.epochs=1")
    train(recipe, built, cards / "run")
    options = [
        "init=run",
        "objective.kind=reward",
        "objective.bleu=1.0",
        "objective.samples=3",
        "training.epochs=1",
        "training.metric=cider",
    ]
    recipe, continued = experiment(cards, monkeypatch, *options)
    assert continued.model.vocabulary.tokens == built.model.vocabulary.tokens
    for name, tensor in load(cards / "run").model.state_dict().items():
        torch.testing.assert_close(continued.model.state_dict()[name], tensor)
    assert train(recipe, continued, cards / "second").steps == 3


def test_batches_depend_on_seed_and_epoch_alone(cards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, built = experiment(cards, monkeypatch)
    first, again, later = ([b.photos.tolist() for b in built.batches(epoch)] for epoch in (0, 0, 1))
    assert first == again != later
    assert sorted(photo for photos in first for photo in photos) == list(range(24))


def test_training_can_be_limited_to_the_first_photos(cards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, built = experiment(cards, monkeypatch, "data.limit=16", "data.dev_limit=2")
    assert sorted(photo for data in built.batches(0) for photo in data.photos.tolist()) == list(range(16))
    assert len(built.dev) == 2


def test_photos_that_speak_of_sides_are_never_mirrored(cards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, built = experiment(cards, monkeypatch)
    assert built.mirrored is not None
    seen: dict[int, set[bool]] = {}
    for epoch in range(12):
        for data in built.batches(epoch):
            for photo, features in zip(data.photos.tolist(), data.features, strict=True):
                plain = np.moveaxis(built.maps[photo], 2, 0)
                seen.setdefault(photo, set()).add(not np.array_equal(features.numpy(), plain))
    assert seen[0] == {False}
    assert all(sides == {False, True} for photo, sides in seen.items() if photo)


def test_fine_tuning_changes_only_the_stages_asked_for(cards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, built = experiment(cards, monkeypatch, "objective.train_from=6", "training.epochs=1")
    before = {name: tensor.clone() for name, tensor in built.model.encoder.state_dict().items()}
    train(recipe, built, cards / "run")
    after = built.model.encoder.state_dict()
    changed = {name.rpartition(".")[0][:8] for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed == {"stages.6", "head"}


def test_initial_weights_must_fit(cards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = parse_recipe(RECIPE.replace('init = "efficientnet-lite2"', ""), "cards.toml")
    with pytest.raises(UsageError, match="init: missing"):
        build_experiment(recipe, cards, cards / "run")
    with pytest.raises(UsageError, match="does not fit"):
        experiment(cards, monkeypatch, "model.encoder=lite0")


def test_features_are_cached_and_read_back(cards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, built = experiment(cards, monkeypatch)
    files = sorted((cards / "home" / "features").iterdir())
    assert len(files) == 3
    stamps = [file.stat().st_mtime_ns for file in files]
    _, again = experiment(cards, monkeypatch)
    assert [file.stat().st_mtime_ns for file in sorted((cards / "home" / "features").iterdir())] == stamps
    np.testing.assert_array_equal(built.maps, again.maps)
    with torch.inference_mode():
        photo = again.model.collate([Item("train0", cards / "captioned-folder" / "train0.png")])
        expected = again.model.encoder.trunk(normalise(photo), 7)[0]
    cached = torch.from_numpy(np.moveaxis(again.maps[0], 2, 0).astype(np.float32))
    torch.testing.assert_close(cached, expected, atol=0.02, rtol=0.01)
