"""Training the translation models: objective, batches, and a whole run on generated pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from condgen_cli.errors import UsageError
from condgen_cli.runner import load
from condgen_cli.training import build_experiment, parse_recipe, train
from condgen_translate.training import TranslateExperiment

NUMBERS = {"eins": "one", "zwei": "two", "drei": "three", "vier": "four", "fünf": "five"}

RECIPE = """
name = "numbers"
task = "translate"
seed = 3

[model]
architecture = "translate"
embedding_size = 24
hidden_size = 24
match_size = 24
dropout = 0.0
share_embeddings = true

[data]
dataset = "parallel"
options = { source = "{split}.de", target = "{split}.en" }
vocabulary_size = 70
copied = 0.5

[decoding]
method = "beam"
beam = 3
max_length = 12

[training]
epochs = 6
batch_size = 8
lr = 1e-2
schedule = "linear"
metric = "bleu"
"""


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """Rows of number words, and a name now and then that is the same in both languages."""
    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", 400), ("dev", 30), ("test", 30)):
        lines: dict[str, list[str]] = {"de": [], "en": []}
        for _ in range(count):
            words = [list(NUMBERS)[int(index)] for index in torch.randint(5, (3,), generator=generator)]
            name = ["Anna"] if float(torch.rand(1, generator=generator)) < 0.5 else []
            lines["de"].append(" ".join([*words, *name]) + ".")
            lines["en"].append(" ".join([*(NUMBERS[word] for word in words), *name]) + ".")
        for language, texts in lines.items():
            (tmp_path / f"{split}.{language}").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return tmp_path


def experiment(folder: Path, *overrides: str) -> TranslateExperiment:
    built = build_experiment(parse_recipe(RECIPE, "numbers.toml", overrides), folder, folder / "run")
    assert isinstance(built, TranslateExperiment)
    return built


def test_the_loss_is_the_cross_entropy_of_the_forward_pass_without_padding(numbers: Path) -> None:
    built = experiment(numbers, "data.max_length=40")
    batch = next(iter(built.batches(0)))
    loss, stats = built.objective(batch)
    logits = built.model(built.model.encode(batch.sources), batch.inputs).flatten(0, 1)
    pad = built.model.vocabulary.pad
    expected = F.cross_entropy(logits, batch.targets.flatten(), ignore_index=pad, label_smoothing=0.1)
    torch.testing.assert_close(loss, expected)
    assert stats["tokens"] == int(batch.lengths.sum())


def test_an_epoch_is_a_function_of_its_number(numbers: Path) -> None:
    built = experiment(numbers, "data.subword_dropout=0.1")
    first, again, second = (list(built.batches(epoch)) for epoch in (0, 0, 1))
    assert len(first) == len(built.batches(0)) == 50
    assert all(torch.equal(here.inputs, there.inputs) for here, there in zip(first, again, strict=True))
    assert not all(torch.equal(here.inputs, there.inputs) for here, there in zip(first, second, strict=False))


def test_copied_words_are_unknown_on_both_sides(numbers: Path) -> None:
    built = experiment(numbers, "data.copied=1.0")
    unknown = built.model.vocabulary.unk
    pairs = [
        (unknown in source, unknown in target)
        for batch in built.batches(0)
        for source, target in zip(batch.sources.tokens.tolist(), batch.targets.tolist(), strict=True)
    ]
    assert all(source == target for source, target in pairs)
    named = sum("Anna" in target for _, target in built.pairs)
    assert sum(source for source, _ in pairs) == named > 150


def test_fewer_pairs_and_separate_vocabularies(numbers: Path) -> None:
    built = experiment(numbers, "data.pairs=40", "data.joint=false", "model.share_embeddings=false", "data.vocabulary_size=40")
    assert len(built.pairs) == 40
    assert built.model.source.tokens != built.model.vocabulary.tokens


def test_a_joint_embedding_needs_a_joint_vocabulary(numbers: Path) -> None:
    with pytest.raises(UsageError, match="one vocabulary"):
        experiment(numbers, "data.joint=false", "data.vocabulary_size=40")


def test_a_run_learns_to_translate_and_to_copy(numbers: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = parse_recipe(RECIPE, "numbers.toml")
    summary = train(recipe, build_experiment(recipe, numbers, run), run)
    assert summary.dev["bleu"] > 90
    runner = load(run)
    found = runner("zwei fünf eins.")
    assert found.output == "two five one."
    attention = found.attention["attention"]
    places = [attention.axes[1].labels[position[0]] for step in range(3) for position, _ in attention.strongest(step, 1)]
    assert len(set(places)) > 1
    assert runner("zwei fünf eins Ж.").output == "two five one Ж."


def test_training_goes_on_from_a_run(numbers: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = parse_recipe(RECIPE, "numbers.toml", ["training.epochs=1"])
    first = build_experiment(recipe, numbers, run)
    train(recipe, first, run)
    onward = experiment(numbers, f"init={run}")
    exported = load(run).model.state_dict()
    assert all(torch.equal(tensor, exported[name]) for name, tensor in onward.model.state_dict().items())
    with pytest.raises(UsageError, match="does not fit"):
        experiment(numbers, f"init={run}", "model.hidden_size=20")
