"""Training the translation models: objective, batches, and a whole run on generated pairs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from condgen_cli.errors import UsageError
from condgen_cli.running.runner import load
from condgen_cli.training import build_experiment, parse_recipe, train
from condgen_cli.training.mixture import Part
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


def toml(value: Any) -> str:
    """A value as an override has it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}={toml(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


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
    built = experiment(numbers, "data.copied=0.5")
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
    built = experiment(numbers, "data.limit=40", "data.joint=false", "model.share_embeddings=false", "data.vocabulary_size=40")
    assert len(built.pairs) == 40
    assert built.model.source.tokens != built.model.vocabulary.tokens


MORE = [{"dataset": "parallel", "options": {"source": "{split}.fr", "target": "{split}.it"}, "weight": 2.25, "dev": True}]


@pytest.fixture
def languages(numbers: Path) -> Path:
    """A second data set, of other languages, so that its pairs can be told from the first's."""
    for split, count in (("train", 120), ("dev", 10), ("test", 10)):
        for language, word in (("fr", "nombre"), ("it", "numero")):
            lines = [f"{word} {number}.\n" for number in range(1000, 1000 + count)]
            (numbers / f"{split}.{language}").write_text("".join(lines), encoding="utf-8")
    return numbers


def taken(built: TranslateExperiment, epoch: int) -> Counter[str]:
    """How often an epoch takes each source sentence."""
    return Counter(built.pairs[index][0] for indices in built.batches(epoch).plan for index in indices)


def test_further_data_sets_are_taken_as_often_as_they_weigh(languages: Path) -> None:
    built = experiment(languages, f"data.more={toml(MORE)}", "data.weight=0.5", "training.batch_size=1")
    epochs = [taken(built, epoch) for epoch in range(4)]
    for epoch in epochs:
        counts = Counter(count for text, count in epoch.items() if text.startswith("nombre"))
        assert counts == {2: 90, 3: 30}
        assert sum(count for text, count in epoch.items() if not text.startswith("nombre")) == 200
    # after four quarters every pair has come once more, and after two halves every one once
    together = sum(epochs, Counter())
    assert {together[f"nombre {number}."] for number in range(1000, 1120)} == {9}
    once = Counter(text for text, _ in built.pairs if not text.startswith("nombre"))
    assert all((epochs[0] + epochs[1])[text] == count for text, count in once.items())
    assert epochs[0] != epochs[1]
    assert epochs[0] == taken(experiment(languages, f"data.more={toml(MORE)}", "data.weight=0.5", "training.batch_size=1"), 0)


@given(count=st.integers(1, 60), weight=st.floats(0.01, 4), epoch=st.integers(0, 50))
def test_an_epoch_takes_the_share_that_its_weight_says(count: int, weight: float, epoch: int) -> None:
    found = Part(7, count, weight, [1, 2]).epoch(epoch)
    assert len(found) == pytest.approx(weight * count, abs=0.51)
    counts = Counter(found.tolist())
    assert set(counts) <= set(range(7, 7 + count))
    assert set(counts.values()) <= {int(weight), int(weight) + 1}


def test_dev_scores_of_further_data_sets_are_told_apart(languages: Path) -> None:
    scores = experiment(languages, f"data.more={toml(MORE)}", "data.dev_limit=4").evaluate()
    assert set(scores) == {f"{key}{name}" for key in ("bleu", "chrf") for name in ("", "_parallel-{split}.fr-{split}.it")}
    alone = [MORE[0] | {"dev": False}]
    assert set(experiment(languages, f"data.more={toml(alone)}", "data.dev_limit=4").evaluate()) == {"bleu", "chrf"}


def test_vocabularies_are_learnt_from_all_data_sets(languages: Path) -> None:
    built = experiment(languages, f"data.more={toml(MORE)}", "data.vocabulary_size=200")
    tokens = built.model.source.tokens
    assert "▁nombre" in tokens
    assert "▁one" in tokens


@pytest.mark.parametrize("wrong", ["weight=0", "weight=-1", "wieght=1"])
def test_a_wrong_option_of_a_further_data_set_is_refused(languages: Path, wrong: str) -> None:
    with pytest.raises(UsageError, match=r"data\.more\.0"):
        experiment(languages, f'data.more=[{{dataset="parallel", {wrong}}}]')


def test_chinese_is_made_plain_before_vocabularies_are_learnt(tmp_path: Path) -> None:
    for split in ("train", "dev"):
        rows = [f"I have {number} cats.\t我有{number:d}隻貓．\n" for number in range(50)]
        (tmp_path / f"{split}.tsv").write_text("".join(rows), encoding="utf-8")
    options = ['data.options={tsv="{split}.tsv", columns="2,1"}', "data.joint=false", "model.share_embeddings=false"]
    built = experiment(tmp_path, *options, "model.plain_chinese=true")
    assert "猫" in built.model.source.tokens
    assert "貓" not in built.model.source.tokens
    assert built.model.collate(built.dev[:1]).tokens.tolist() == [[*built.model.source.encode("我有0只猫．"), 2]]
    assert "貓" in experiment(tmp_path, *options).model.source.tokens


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
