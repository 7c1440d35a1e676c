"""Training the speech models: objective, batches, and a whole run on tones that stand for letters."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torch.nn.functional as F

from condgen_cli.errors import IntegrityError, NotFoundError, UsageError
from condgen_cli.files.weights import load_weights
from condgen_cli.running.decoding import Decoding, decode
from condgen_cli.running.runner import load
from condgen_cli.training import build_experiment, check, parse_recipe, parse_stages, train
from condgen_cli.training.library import find_recipe
from condgen_transcribe.ctc import align_labels
from condgen_transcribe.model import LanguageModelConfig, TranscribeConfig
from condgen_transcribe.objective import Objective
from condgen_transcribe.pronunciation import number_phones
from condgen_transcribe.training import TranscribeExperiment, mask
from condgen_transcribe.words import Lexicon

TONES = {"A": 400, "B": 900, "C": 1700, "D": 3000}
RATE = 16000

RECIPE = """
name = "tones"
task = "transcribe"
seed = 3

[model]
architecture = "transcribe"
bins = 20
convolutions = 1
channels = 4
layers = 1
listener_size = 24
embedding_size = 16
hidden_size = 24
match_size = 16
dropout = 0.0

[data]
dataset = "audio-folder"
speeds = [0.95, 1.0]
masks = 1
mask_frames = 2
mask_bins = 2

[decoding]
method = "beam"
beam = 3
max_length = 8
weights = { ctc = 0.5 }

[training]
epochs = 12
batch_size = 8
lr = 1e-2
schedule = "linear"
metric = "cer"
mode = "min"
"""


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """Two or three tones of a tenth of a second each, with a little noise."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 96), ("dev", 12), ("test", 12)):
        rows = []
        for number in range(count):
            letters = "".join(rng.choice(list(TONES), rng.integers(2, 4)))
            waves = [0.4 * np.sin(2 * np.pi * TONES[letter] * np.arange(RATE // 10) / RATE) for letter in letters]
            pause = np.zeros(RATE // 50)
            sound = np.concatenate([part for wave in waves for part in (wave, pause)])
            soundfile.write(tmp_path / f"{split}{number}.wav", sound + rng.normal(0, 0.003, len(sound)), RATE)
            rows.append(f"{split}{number}.wav\t{letters}")
        (tmp_path / f"{split}.tsv").write_text("\n".join(rows) + "\n")
    return tmp_path


def experiment(folder: Path, *overrides: str) -> TranscribeExperiment:
    built = build_experiment(parse_recipe(RECIPE, "tones.toml", overrides), folder, folder / "run")
    assert isinstance(built, TranscribeExperiment)
    return built


def test_the_loss_weighs_speller_and_listener(tones: Path) -> None:
    built = experiment(tones, "objective.ctc=0.25")
    batch = next(iter(built.batches(0)))
    loss, stats = built.objective(batch)
    model = built.model
    memory = model.encode(batch.speech)
    written = model(memory, batch.inputs).flatten(0, 1)
    spelt = F.cross_entropy(written, batch.targets.flatten(), ignore_index=model.vocabulary.pad, label_smoothing=0.1)
    heard = 0.0
    assert memory.mask is not None
    for row, steps in enumerate(batch.lengths.tolist()):
        positions = int(memory.mask[row].sum())
        log_probs = memory.auxiliary["ctc"][row, :positions].unsqueeze(1)
        labels = batch.targets[row, : steps - 1].unsqueeze(0)
        heard += float(
            F.ctc_loss(log_probs.detach(), labels, torch.tensor([positions]), torch.tensor([steps - 1]), reduction="sum")
        )
    tokens = int(batch.lengths.sum())
    assert stats["tokens"] == tokens
    assert stats["ctc"] == pytest.approx(heard / tokens, rel=1e-4)
    assert loss.item() == pytest.approx(0.75 * spelt.item() + 0.25 * heard / tokens, rel=1e-4)


def test_by_ctc_alone_the_speller_is_left_as_it_is(tones: Path) -> None:
    built = experiment(tones, "objective.ctc=1")
    loss, stats = built.objective(next(iter(built.batches(0))))
    assert loss.item() == pytest.approx(stats["ctc"])
    assert "cross_entropy" not in stats
    loss.backward()
    assert all(parameter.grad is None for parameter in built.model.decoder.parameters())
    assert all(parameter.grad is not None for parameter in built.model.listener.parameters())


def test_scheduled_sampling_replaces_inputs_but_the_first(tones: Path) -> None:
    built = experiment(tones, "objective.sampling=1.0")
    objective = built.objective
    assert isinstance(objective, Objective)
    batch = next(iter(built.batches(0)))
    torch.manual_seed(0)
    objective.set_progress(0.0)
    before, _ = objective(batch)
    objective.set_progress(1.0)
    with torch.no_grad():
        built.model.decoder.bias[4:] = -50.0
        built.model.decoder.bias[built.model.vocabulary.unk] = 50.0
    sampled = objective._sample_inputs(built.model.encode(batch.speech), batch)
    for row, steps in enumerate(batch.lengths.tolist()):
        assert sampled[row, 0] == built.model.vocabulary.bos
        assert sampled[row, 1:steps].eq(built.model.vocabulary.unk).all()
        assert sampled[row, steps:].eq(batch.inputs[row, steps:]).all()
    assert before.isfinite()


def test_guidance_is_what_listening_off_the_diagonal_costs(tones: Path) -> None:
    plain, built = (experiment(tones, "objective.ctc=0.25", *more) for more in ((), ("objective.guidance=2",)))
    plain.objective.eval()
    built.objective.eval()
    batch = next(iter(built.batches(0)))
    memory = built.model.encode(batch.speech)
    assert memory.mask is not None
    state, costs = built.model.start(memory), []
    for number in range(batch.inputs.shape[1]):
        step = built.model.step(batch.inputs[:, number], state, memory)
        state = step.state
        for row, steps in enumerate(batch.lengths.tolist()):
            positions = int(memory.mask[row].sum())
            weights = step.attention["attention"][row].tolist()
            distances = [number / steps - position / positions for position in range(positions)]
            cost = sum(w * (1 - math.exp(-(d**2) / (2 * 0.1**2))) for w, d in zip(weights, distances, strict=False))
            costs += [cost] if number < steps else []
    loss, stats = built.objective(batch)
    assert stats["astray"] == pytest.approx(sum(costs) / len(costs), rel=1e-4)
    assert stats["astray"] > 0.01
    assert loss.item() == pytest.approx(plain.objective(batch)[0].item() + 0.75 * 2 * stats["astray"], rel=1e-4)


def test_alignment_is_what_listening_elsewhere_than_ctc_costs(tones: Path) -> None:
    plain, built = (experiment(tones, "objective.ctc=0.25", *more) for more in ((), ("objective.alignment=2",)))
    plain.objective.eval()
    built.objective.eval()
    batch = next(iter(built.batches(0)))
    memory = built.model.encode(batch.speech)
    state, costs = built.model.start(memory), []
    for number in range(batch.inputs.shape[1]):
        step = built.model.step(batch.inputs[:, number], state, memory)
        state = step.state
        for row, steps in enumerate(batch.lengths.tolist()):
            if number < steps:
                labels = batch.targets[row : row + 1, : steps - 1]
                heard = align_labels(memory.auxiliary["ctc"][row : row + 1], labels, torch.tensor([steps - 1]))[0]
                place = int(heard[min(number, steps - 2)])  # the end token is where the last one was
                near = step.attention["attention"][row, max(0, place - 2) : place + 3]
                costs.append(-math.log(near.sum().item() + 1e-6))
    loss, stats = built.objective(batch)
    assert stats["apart"] == pytest.approx(sum(costs) / len(costs), rel=1e-4)
    assert stats["apart"] > 0.1
    assert loss.item() == pytest.approx(plain.objective(batch)[0].item() + 0.75 * 2 * stats["apart"], rel=1e-4)


def test_batches_are_a_function_of_seed_and_epoch(tones: Path) -> None:
    built = experiment(tones)
    first, again, later = (list(built.batches(epoch)) for epoch in (0, 0, 1))
    assert all(torch.equal(a.speech.features, b.speech.features) for a, b in zip(first, again, strict=True))
    assert any(a.speech.features.shape != b.speech.features.shape for a, b in zip(first, later, strict=True))


def test_masks_cover_stripes_no_wider_than_said() -> None:
    rng = np.random.default_rng(0)
    widest = np.zeros(2, int)
    for _ in range(200):
        covered = mask(torch.ones(40, 30), 1, 6, 5, rng).eq(0)
        frames, bins = covered.all(1), covered.all(0)
        assert torch.equal(covered, frames.unsqueeze(1) | bins)
        widest = np.maximum(widest, [int(frames.sum()), int(bins.sum())])
    assert widest.tolist() == [6, 5]
    assert mask(torch.ones(20, 30), 1, 10, 1, rng).eq(0).all(1).sum() <= 4  # at most a fifth of the utterance


def test_long_utterances_are_left_out(tones: Path) -> None:
    everything, short = experiment(tones), experiment(tones, "data.longest=0.3")
    assert 0 < len(short.features) < len(everything.features) == 96


def test_first_epochs_are_of_short_utterances(tones: Path) -> None:
    built = experiment(tones, "data.short_epochs=2", "data.short=0.3", "training.batch_size=4")
    heard = [sum(len(batch.inputs) for batch in built.batches(epoch)) for epoch in range(3)]
    short = sum(soundfile.info(tones / f"train{number}.wav").duration <= 0.3 for number in range(96))
    assert 0 < short - 4 < heard[0] == heard[1] <= short
    assert heard[2] == 96


def write_language_model(tones: Path, name: str, letters: str) -> Path:
    """A run of a language model of utterances that have these letters."""
    folder = tones / name
    folder.mkdir()
    for split in ("train", "dev"):
        lines = (f"{number}.wav\t{letter}\n" for number, letter in enumerate(letters * 8))
        (folder / f"{split}.tsv").write_text("".join(lines))
    recipe = parse_recipe(
        """
        name = "letters"
        task = "transcribe"
        seed = 1
        [model]
        architecture = "speech-language-model"
        embedding_size = 4
        hidden_size = 8
        [data]
        dataset = "audio-folder"
        [training]
        epochs = 1
        batch_size = 8
        metric = "nats_per_token"
        mode = "min"
        """,
        "letters.toml",
    )
    train(recipe, build_experiment(recipe, folder, folder / "run"), folder / "run")
    return folder / "run"


def with_language_model(run: Path | str) -> tuple[str, ...]:
    return (f"data.language_model={run}", "model.language_model.embedding_size=4", "model.language_model.hidden_size=8")


def test_a_recipe_goes_on_from_a_model_without_a_language_model(tones: Path) -> None:
    letters = write_language_model(tones, "letters", "ABCD")
    recipe = parse_recipe(RECIPE, "tones.toml", ("training.epochs=1",))
    train(recipe, build_experiment(recipe, tones, tones / "run"), tones / "run")
    built = experiment(tones, f"init={tones / 'run'}", *with_language_model(letters))
    before, after = load(str(tones / "run")).model.state_dict(), built.model.state_dict()
    spoken = load_weights(letters / "model.safetensors")
    assert all(torch.equal(after.pop(name), tensor) for name, tensor in before.items())
    assert {name.removeprefix("language_model."): tensor.shape for name, tensor in after.items()} == {
        name: tensor.shape for name, tensor in spoken.items()
    }
    assert all(torch.equal(after[f"language_model.{name}"], tensor) for name, tensor in spoken.items())


def test_a_language_model_must_be_given_and_fit(tones: Path) -> None:
    recipe = parse_recipe(RECIPE, "tones.toml", ("training.epochs=1",))
    train(recipe, build_experiment(recipe, tones, tones / "run"), tones / "run")
    for init in ((), (f"init={tones / 'run'}",)):
        with pytest.raises(UsageError, match=r"data\.language_model: missing"):
            experiment(tones, *init, *with_language_model(""))
    other = write_language_model(tones, "other", "AXYZ")
    with pytest.raises(UsageError, match="different vocabularies"):
        experiment(tones, f"init={tones / 'run'}", *with_language_model(other))


def test_words_are_counted_and_judge_with_the_exported_model(tones: Path) -> None:
    (tones / "more.txt").write_text("ABC ABC\nDAD ABC\nDAD ABC\n")
    words = ('data.words={text="more.txt", word_count=2, bigram_count=2}', "training.epochs=1")
    recipe = parse_recipe(RECIPE, "tones.toml", words)
    built = build_experiment(recipe, tones, tones / "run")
    train(recipe, built, tones / "run")
    model = load(str(tones / "run")).model
    transcripts = [line.split("\t")[1] for line in (tones / "train.tsv").read_text().splitlines()]
    counts = Counter([*transcripts, "ABC", "ABC", "DAD", "ABC", "DAD", "ABC"])
    assert model.lexicon.words == sorted(word for word, count in counts.items() if count >= 2)
    assert model.config.words.bigrams == len(model.words.second) > 0
    assert isinstance(built, TranscribeExperiment)
    assert built.model.words is not None
    assert all(torch.equal(model.words.state_dict()[name], tensor) for name, tensor in built.model.words.state_dict().items())
    # a word of the lexicon outweighs what was heard
    memory = model.encode(model.collate(built.dev))
    heavy = decode(model, memory, Decoding(max_length=8, weights={"words": 50.0}))
    assert {model.vocabulary.decode(best.ids) for best, *_ in heavy} <= set(model.lexicon.words) | {"ABC ABC", "DAD ABC"}

    # who goes on from it counts anew, or goes without
    plain = experiment(tones, f"init={tones / 'run'}")
    assert plain.model.words is None
    assert torch.equal(plain.model.decoder.bias, model.decoder.bias)
    again = experiment(tones, f"init={tones / 'run'}", "data.words={}")
    assert again.model.words is not None
    assert again.model.config.words != model.config.words
    with pytest.raises(UsageError, match=r"model\.words"):
        experiment(tones, "model.words={words=1, bigrams=1}")


PHONES = {"A": "AA1", "B": "B", "C": "S", "D": "D"}
SOUND = ("model.phones=true", "data.dictionary=tones.dict", "data.words={word_count=1, bigram_count=1}")


def write_dictionary(tones: Path) -> None:
    """Every utterance as a word that is said letter by letter."""
    words = {line.split("\t")[1] for line in (tones / "train.tsv").read_text().splitlines()}
    lines = (f"{word.lower()} {' '.join(PHONES[letter] for letter in word)}\n" for word in sorted(words)[::2])
    (tones / "tones.dict").write_text("".join(lines))


def test_phones_are_learnt_beside_letters(tones: Path) -> None:
    write_dictionary(tones)
    built = experiment(tones, *SOUND, "objective.ctc=1", "objective.phones=2")
    batch = next(iter(built.batches(0)))
    loss, stats = built.objective(batch)
    model = built.model
    memory = model.encode(batch.speech)
    assert memory.mask is not None
    heard, count = 0.0, 0
    for row, steps in enumerate(batch.lengths.tolist()):
        positions = int(memory.mask[row].sum())
        text = model.vocabulary.decode(batch.targets[row, : steps - 1].tolist())
        said = torch.tensor([number_phones(PHONES[letter].rstrip("1") for letter in text)]).view(1, -1)
        log_probs = memory.auxiliary["phones"][row, :positions].unsqueeze(1).detach()
        heard += float(F.ctc_loss(log_probs, said, torch.tensor([positions]), torch.tensor([len(text)]), reduction="sum"))
        count += len(text)
    assert stats["phones"] == pytest.approx(heard / count, rel=1e-4)
    assert loss.item() == pytest.approx(stats["ctc"] + 2 * stats["phones"], rel=1e-4)


def test_a_model_of_phones_knows_how_its_words_are_said(tones: Path) -> None:
    write_dictionary(tones)
    plain = parse_recipe(RECIPE, "tones.toml", ("training.epochs=1",))
    train(plain, build_experiment(plain, tones, tones / "plain"), tones / "plain")
    by_sound = ("decoding.weights={phones=10.0, words=1.0}", "decoding.second_pass=true", "decoding.beam=30")
    learnt = (f"init={tones / 'plain'}", *SOUND, "objective.ctc=1", "objective.phones=1", *by_sound)
    recipe = parse_recipe(RECIPE, "tones.toml", learnt)
    train(recipe, build_experiment(recipe, tones, tones / "run"), tones / "run")
    runner = load(str(tones / "run"))
    model = runner.model
    assert set(model.scorers()) == {"ctc", "phones", "words"}
    assert [len(said) for said in model.lexicon.sounds] == [len(word) for word in model.lexicon.words]
    lines = [line.split("\t") for line in (tones / "test.tsv").read_text().splitlines()]
    right = sum(runner(str(tones / name)).output == letters for name, letters in lines)
    assert right >= 6  # of 12; by chance, none


def test_phones_need_a_dictionary(tones: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.dictionary: missing"):
        experiment(tones, "model.phones=true")
    with pytest.raises(NotFoundError, match=r"tones\.dict"):
        experiment(tones, "model.phones=true", "data.dictionary=tones.dict")


def test_a_lexicon_of_another_model_is_refused(tones: Path) -> None:
    recipe = parse_recipe(RECIPE, "tones.toml", ("training.epochs=1", "data.words={}"))
    train(recipe, build_experiment(recipe, tones, tones / "run"), tones / "run")
    Lexicon(["ABC"]).save(tones / "run" / "lexicon.json")
    with pytest.raises(IntegrityError, match="has 1 words"):
        load(str(tones / "run"))


def test_the_dev_utterances_are_spread_over_the_split(tones: Path) -> None:
    everything, some = experiment(tones), experiment(tones, "data.dev_limit=3")
    assert [item.id for item in some.dev] == [everything.dev[index].id for index in (0, 4, 8)]
    assert len(experiment(tones, "data.dev_limit=99").dev) == len(everything.dev) == 12


@pytest.mark.parametrize(("name", "stage"), [("las", "speller"), ("las-an4", "speech")])
def test_a_stage_describes_the_language_model_that_the_first_trains(name: str, stage: str) -> None:
    stages = parse_stages(*find_recipe(name))
    speech, text = (stages.find(one).recipe for one in (stage, "lm"))
    described = check(TranscribeConfig, speech.model.options, "model").language_model
    trained = check(LanguageModelConfig, text.model.options, "model")
    assert described is not None
    assert described.make(8).state_dict().keys() == trained.make(8).state_dict().keys()
    assert (described.embedding_size, described.hidden_size) == (trained.embedding_size, trained.hidden_size)
    assert (speech.data.dataset, speech.data.options["language_model"]) == (text.data.dataset, "stage:lm")


@pytest.mark.parametrize(
    "names",
    [("speller", "listener-2"), ("fine", "speller-2"), ("phones", "phones-2"), ("phones", "speller-3")],
)
def test_the_stages_of_one_model_describe_it_alike(names: tuple[str, str]) -> None:
    stages = parse_stages(*find_recipe("las"))
    recipes = [stages.find(name).recipe for name in names]
    models = [check(TranscribeConfig, recipe.model.options, "model") for recipe in recipes]
    assert len({model.model_copy(update={"dropout": 0.0}).model_dump_json() for model in models}) == 1


def test_a_run_learns_to_read_tones(tones: Path) -> None:
    recipe = parse_recipe(RECIPE, "tones.toml")
    summary = train(recipe, build_experiment(recipe, tones, tones / "run"), tones / "run")
    assert summary.best is not None
    assert summary.best < 15
    runner = load(str(tones / "run"))
    lines = [line.split("\t") for line in (tones / "test.tsv").read_text().splitlines()]
    right = sum(runner(str(tones / name)).output == letters for name, letters in lines)
    assert right >= 6  # of 12; by chance, none
