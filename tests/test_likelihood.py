"""Likelihood of references: teacher-forced, per item and reference, and what the metrics make of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from condgen_cli.errors import UsageError
from condgen_cli.generation import Generation
from condgen_cli.metrics.evaluation import evaluate
from condgen_cli.metrics.exact import Accuracy
from condgen_cli.metrics.likelihood import Likelihood
from condgen_cli.metrics.suite import Suite
from condgen_cli.model import Item, Memory, Predictor, SequenceModel, Step
from condgen_cli.running.decoding import Decoding
from condgen_cli.running.likelihood import reference_log_probs
from condgen_cli.running.runner import Bundle, Runner


class Letters:
    """``a`` and ``b``."""

    pad, bos, eos, unk = range(4)

    def __len__(self) -> int:
        return 6

    def encode(self, text: str) -> list[int]:
        return [4 + "ab".index(letter) for letter in text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join("ab"[index - 4] for index in ids if index > 3)

    def token(self, index: int) -> str:
        return self.decode([index])


class State(NamedTuple):
    rows: Tensor


class Pairs(SequenceModel):
    """The next letter depends on the one before and on the item: with condition c the letter repeats with probability c."""

    def __init__(self) -> None:
        super().__init__()
        self.vocabulary = Letters()
        self.steps = 0

    def collate(self, items: Sequence[Item]) -> Tensor:
        return torch.tensor([item.condition for item in items])

    def encode(self, batch: Tensor) -> Memory:
        return Memory(torch.zeros(len(batch), 0, 1), auxiliary={"again": batch})

    def start(self, memory: Memory, rows_per_item: int = 1) -> State:
        return State(memory.auxiliary["again"].repeat_interleave(rows_per_item))

    def logits(self, token: Tensor, again: Tensor) -> Tensor:
        probabilities = torch.zeros(*token.shape, 6)
        probabilities[..., 3] = 0.2  # the unknown token takes its share
        probabilities[..., 2] = 0.1
        for letter in (4, 5):
            share = torch.where(token == letter, again, 1 - again)
            probabilities[..., letter] = 0.7 * torch.where(token == 1, torch.tensor(0.5), share)
        return probabilities.log()

    def step(self, token: Tensor, state: State, memory: Memory) -> Step:
        self.steps += 1
        return Step(self.logits(token, state.rows), state)

    def forward(self, memory: Memory, targets: Tensor) -> Tensor:
        rows = memory.auxiliary["again"].repeat_interleave(len(targets) // len(memory))
        return self.logits(targets, rows.unsqueeze(1).expand_as(targets))


class Unending(Pairs):
    """Its texts are cut from longer ones, so that no end is expected."""

    def targets(self, text: str) -> list[int]:
        return self.vocabulary.encode(text)


class Unwritten(Predictor):
    """Writes no tokens."""

    def collate(self, items: Sequence[Item]) -> int:
        return len(items)

    def predict(self, batch: int) -> list[Generation]:
        return [Generation("")] * batch


ITEMS = [Item("1", 0.9, ("aab", "b")), Item("2", 0.25, ("bb",)), Item("3", 0.5, ("",))]


def expected(again: float, text: str, ends: bool = True) -> list[float]:
    found = []
    for position, letter in enumerate(text):
        share = 0.5 if position == 0 else again if letter == text[position - 1] else 1 - again
        found.append(0.7 * share)
    return [*found, 0.1] if ends else found


@pytest.mark.parametrize("model", [Pairs(), Unending()])
def test_each_reference_of_each_item(model: Pairs) -> None:
    memory = model.encode(model.collate(ITEMS))
    rows = reference_log_probs(model, memory, [item.references for item in ITEMS])
    for item, found in zip(ITEMS, rows, strict=True):
        assert len(found) == len(item.references)
        for text, log_probs in zip(item.references, found, strict=True):
            wanted = expected(item.condition, text, not isinstance(model, Unending))
            np.testing.assert_allclose(np.exp(log_probs), wanted, rtol=1e-5)


def test_a_model_without_tokens_says_so() -> None:
    with pytest.raises(UsageError, match="no probabilities"):
        reference_log_probs(Unwritten(), Memory(torch.zeros(1, 0, 1)), [("a",)])


def runner(model: nn.Module) -> Runner:
    return Runner(model, Bundle("pairs", "write", "pairs", {}, {}, {}), torch.device("cpu"))


def test_metrics_are_sums_over_items() -> None:
    model = Pairs()
    suite = Suite([Likelihood()], Likelihood.keys)
    done = evaluate(runner(model), ITEMS, suite, batch_size=2)
    assert model.steps == 0, "nothing is decoded for metrics that look at no output"
    assert [generation.output for generation in done.generations] == ["", "", ""]
    nats = -sum(np.log(expected(item.condition, text)).sum() for item in ITEMS for text in item.references)
    tokens, characters, references = 4 + 2 + 3 + 1, 3 + 1 + 2 + 0, 4
    scores = suite.score(done.statistics.sum(0), len(done.items))
    assert scores["nll_nats"] == pytest.approx(nats / references, rel=1e-5)
    assert scores["bits_per_dim"] == pytest.approx(nats / tokens / np.log(2), rel=1e-5)
    assert scores["perplexity"] == pytest.approx(np.exp(nats / tokens), rel=1e-5)
    assert scores["nats_per_char"] == pytest.approx(nats / characters, rel=1e-5)
    assert scores["bits_per_char"] == pytest.approx(nats / characters / np.log(2), rel=1e-5)


def test_beside_metrics_of_the_output() -> None:
    model = Pairs()
    suite = Suite([Accuracy(), Likelihood()], ["accuracy", "nll_nats"])
    done = evaluate(runner(model), ITEMS[:2], suite, decoding=Decoding(beam=1, max_length=1))
    assert model.steps > 0
    assert {generation.output for generation in done.generations} <= {"a", "b"}
    assert all(generation.reference_log_probs for generation in done.generations)


def test_nobody_asked() -> None:
    (result,) = runner(Pairs()).stream(ITEMS[:1])
    assert isinstance(result.generations[0], Generation)
    assert result.generations[0].reference_log_probs == ()
