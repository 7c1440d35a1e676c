"""Training of the text models: what is carried on, what is learnt, and that a resumed run is the same."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from condgen_cli.errors import NotFoundError, UsageError
from condgen_cli.item import Item
from condgen_cli.running.likelihood import reference_log_probs
from condgen_cli.running.runner import load
from condgen_cli.training import Recipe, build_experiment, parse_recipe, train
from condgen_generate.prompt import Prompt
from condgen_generate.text_training import StreamBatch, TextExperiment, VerseBatch
from condgen_generate.verse import FORMS, form_of

RECIPE = """
name = "toy"
task = "generate"
[model]
architecture = "text-lm"
kind = "stream"
embedding_size = 8
hidden_size = 32
layers = 1
dropout = 0.0
[data]
dataset = "text-file"
steps = 10
[decoding]
method = "sample"
max_length = 500
[training]
epochs = 4
batch_size = 4
lr = 2e-2
metric = "nats_per_char"
mode = "min"
"""
VERSE = ("model.kind=verse", "data.dataset=chinese-poetry", "training.batch_size=8", "training.metric=bits_per_char")
TEXT = "To be, or not to be.\n" * 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text that repeats itself, and poems of 60 characters; those of seven have others than those of five."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "input.txt").write_text(TEXT)
    draw = random.Random(0)
    rows = []
    for number in range(240):
        form = FORMS[number % 4]
        first = 0x4E00 + 30 * (form.syllables == 7)
        lines = ["".join(chr(first + draw.randrange(30)) for _ in range(form.syllables)) for _ in range(form.lines)]
        rows.append(json.dumps({"paragraphs": ["，".join(lines[i : i + 2]) + "。" for i in range(0, form.lines, 2)]}))
    (folder / "tang_poems.jsonl").write_text("\n".join(rows))
    return folder


def recipe(*overrides: str) -> Recipe:
    return parse_recipe(RECIPE, "toy.toml", overrides)


def build(folder: Path, *overrides: str) -> TextExperiment:
    experiment = build_experiment(recipe(*overrides), folder, folder)
    assert isinstance(experiment, TextExperiment)
    return experiment


def test_rows_of_a_stream_go_on_from_batch_to_batch(folder: Path) -> None:
    experiment = build(folder)
    batches = list(experiment.batches(0))
    assert len(batches) == len(experiment.batches(0))
    for row in range(4):
        read = experiment.model.vocabulary.decode([int(i) for batch in batches for i in batch.inputs[row]])
        expected = experiment.model.vocabulary.decode([int(i) for batch in batches for i in batch.targets[row]])
        assert read in TEXT
        assert expected[:-1] == read[1:]
        assert read + expected[-1] in TEXT
    assert [bool(batch.first) for batch in batches] == [True] + [False] * (len(batches) - 1)
    begins = {tuple(next(iter(experiment.batches(epoch))).inputs[0].tolist()) for epoch in range(8)}
    assert len(begins) > 1


def test_the_dev_split_may_be_learnt_too(folder: Path) -> None:
    without, whole = build(folder), build(folder, "data.with_dev=true")
    text = "".join(item.references[0] for item in whole.dev)
    assert text
    decode = whole.model.vocabulary.decode
    assert decode(whole.stream.tolist()) == decode(without.stream.tolist()) + text


def test_another_part_of_a_further_text_is_read_before_the_split_in_each_epoch(folder: Path) -> None:
    books = [f"NOT TO {'BE' * count} OR BE\n" for count in range(1, 21)]
    (folder / "books.txt").write_text("".join(books))
    parts = ("data.text=books.txt", "data.text_parts=2", "training.batch_size=1")
    alone, experiment = build(folder), build(folder, *parts)
    vocabulary = experiment.model.vocabulary
    assert vocabulary.characters == alone.model.vocabulary.characters
    read = [vocabulary.decode([int(i) for batch in experiment.batches(epoch) for i in batch.inputs[0]]) for epoch in range(3)]
    first, second = "".join(books)[: sum(map(len, books)) // 2].lower(), "".join(books)[-50:].lower()
    begin = slice(20, 200)  # an epoch begins a few characters later than another
    assert first[begin] in read[0]
    assert first[begin] in read[2]
    assert first[begin] not in read[1]
    assert second in read[1]
    assert second not in read[0]
    assert all("To be, or not to be.\n" * 40 in one for one in read)
    (folder / "own.txt").write_text("To beet or not. " * 9)
    cased = build(folder, "data.text=own.txt", "training.batch_size=1")
    assert "To beet or not. " * 7 in vocabulary.decode([int(i) for batch in cased.batches(0) for i in batch.inputs[0]])


def test_a_further_text_that_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nowhere\.txt"):
        build(folder, "data.text=nowhere.txt")


def test_the_state_is_carried_on_within_an_epoch_and_no_further(folder: Path) -> None:
    experiment = build(folder)
    objective = experiment.objective.eval()
    batches = [batch for _, batch in zip(range(3), experiment.batches(0), strict=False)]

    def losses() -> list[float]:
        return [float(objective(batch)[0].detach()) for batch in batches]

    inputs, targets = (torch.cat([getattr(batch, name) for batch in batches], 1) for name in ("inputs", "targets"))
    whole = float(objective(StreamBatch(inputs, targets, torch.tensor(True)))[0].detach())
    found = losses()
    assert sum(found) / 3 == pytest.approx(whole, abs=1e-5)
    assert losses() == found
    apart = [float(objective(batch._replace(first=torch.tensor(True)))[0].detach()) for batch in batches]
    assert apart[0] == found[0]
    assert abs(apart[1] - found[1]) > 1e-6


def test_the_gradient_ends_where_a_batch_begins(folder: Path) -> None:
    objective = build(folder).objective
    batches = iter(build(folder).batches(0))
    for _ in range(2):
        loss, stats = objective(next(batches))
        loss.backward()  # through the batch before, it would fail
        assert stats["tokens"] == 40


def test_poems_are_padded_after_their_form_and_the_padding_counts_for_nothing(folder: Path) -> None:
    experiment = build(folder, *VERSE)
    vocabulary = experiment.model.vocabulary
    some = [0, 1, 2, 3, 4]
    batch = experiment.poems(some)
    poems = [vocabulary.decode(experiment.sequences[index]) for index in some]
    forms = [form_of(poem) for poem in poems]
    assert len(set(forms)) > 1
    for row, (poem, form) in enumerate(zip(poems, forms, strict=True)):
        assert form is not None
        assert [vocabulary.token(int(i)) for i in batch.inputs[row, : batch.lengths[row]]] == [f"<{form.name}>", *poem]
        assert [vocabulary.token(int(i)) for i in batch.targets[row, : batch.lengths[row]]] == [*poem, "<eos>"]
    objective = experiment.objective.eval()
    alone = [objective(experiment.poems([index])) for index in some]
    mean = sum(loss.item() * stats["tokens"] for loss, stats in alone) / sum(stats["tokens"] for _, stats in alone)
    assert objective(batch)[0].item() == pytest.approx(mean, abs=1e-5)
    assert isinstance(batch, VerseBatch)


def test_a_repeated_text_is_learnt_and_gone_on_with(folder: Path, tmp_path: Path) -> None:
    own = recipe("training.epochs=12", "training.evaluate_every=1000")
    summary = train(own, build_experiment(own, folder, tmp_path), tmp_path, device="cpu")
    assert summary.metric == "nats_per_char"
    assert summary.dev["nats_per_char"] < 0.1
    runner = load(tmp_path, device="cpu")
    prompt = Item("x", Prompt("To be, or", length=30, exact=True), source="x")
    assert runner(prompt, temperature=0.1).output == "To be, or not to be.\nTo be, or not to b"


def test_forms_are_learnt_from_their_names(folder: Path, tmp_path: Path) -> None:
    own = recipe(*VERSE, "training.epochs=4", "training.evaluate_every=1000")
    experiment = build_experiment(own, folder, tmp_path)
    assert isinstance(experiment, TextExperiment)
    train(own, experiment, tmp_path, device="cpu")
    model = load(tmp_path, device="cpu").model

    def total(items: list[Item]) -> float:
        memory = model.encode(model.collate(items))
        return sum(float(row[0].sum()) for row in reference_log_probs(model, memory, [item.references for item in items]))

    other = {"5x4": FORMS[1], "7x4": FORMS[0], "5x8": FORMS[3], "7x8": FORMS[2]}
    wrong = [replace(item, condition=Prompt(form=other[item.condition.form.name])) for item in experiment.dev]
    assert total(experiment.dev) > total(wrong) + len(wrong)


@pytest.mark.parametrize("overrides", [("training.epochs=1",), (*VERSE, "training.epochs=1", "model.dropout=0.2")])
def test_a_run_that_is_resumed_within_an_epoch_goes_on_with_the_same_bits(
    folder: Path, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    own = recipe(*overrides, "training.checkpoint_every=4", "training.average=ema")
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train(own, build_experiment(own, folder, whole), whole, device="cpu")
    broken = build_experiment(own, folder, halves)
    forward, seen = broken.objective.forward, []

    def breaking(batch: object) -> object:
        seen.append(batch)
        return forward(batch) if len(seen) < 7 else 1 / 0

    broken.objective.forward = breaking  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        train(own, broken, halves, device="cpu")
    train(own, build_experiment(own, folder, halves), halves, resume=True, device="cpu")
    assert (whole / "model.safetensors").read_bytes() == (halves / "model.safetensors").read_bytes()


def test_a_text_shorter_than_a_batch_is_one(folder: Path) -> None:
    for rows, steps in ((64, 128), (2, 100_000)):
        experiment = build(folder, f"training.batch_size={rows}", f"data.steps={steps}")
        (batch,) = experiment.batches(0)
        characters = len(experiment.stream)
        assert batch.inputs.shape[0] <= rows
        assert batch.inputs.shape[1] <= steps
        assert characters / 2 <= batch.inputs.numel() < characters


def test_what_does_not_fit_is_said(folder: Path, tmp_path: Path) -> None:
    few = tmp_path / "tang_poems.jsonl"
    few.write_text((folder / "tang_poems.jsonl").read_text().partition("\n")[0])
    with pytest.raises(UsageError, match="split dev of chinese-poetry has no items"):
        build(tmp_path, *VERSE)
    with pytest.raises(UsageError, match="has no poems in a form"):
        build(folder, "model.kind=verse")
    with pytest.raises(UsageError, match=r"data\.step: unknown key"):
        build(folder, "data.step=128")
