"""Whether a model's graphs compute what the model does: the same hypotheses, probabilities and attention on the same items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from condgen_cli.contract import Contract
from condgen_cli.errors import CondgenError
from condgen_cli.generation import Generation
from condgen_cli.item import Item
from condgen_cli.running.bundle import Bundle
from condgen_cli.running.decoding import Decoding
from condgen_cli.running.request import Request
from condgen_cli.running.results import Result
from condgen_cli.running.runner import Runner

__all__ = ["TOLERANCE", "Difference", "compare"]

TOLERANCE = 1e-4
"""Largest difference of a log-probability, in nats, or of an attention weight."""


@dataclass(frozen=True)
class Difference:
    """How much two computations differ.

    Args:
        items, outputs: numbers of items, and of hypotheses or predictions of all of them.
        log_prob, attention: largest differences of log-probabilities and attention weights.
    """

    items: int = 0
    outputs: int = 0
    log_prob: float = 0.0
    attention: float = 0.0

    def __str__(self) -> str:
        compared = f"{self.outputs} outputs for {self.items} items are the same"
        return f"{compared}; log-probabilities within {self.log_prob:.0e}, attention within {self.attention:.0e}"


def compare(bundle: Bundle, model: Contract, graphs: Contract, items: Sequence[Item], batch_size: int = 16) -> Difference:
    """Compare a model in torch with its graphs, on all hypotheses of its own search, or its own samples.

    Args:
        bundle: the bundle of both.
        model: in torch, on the CPU.
        graphs: the same as graphs.
        items: inputs.
        batch_size: number of items in a batch.
    Raises:
        CondgenError: if an output differs, a log-probability or an attention weight differs by more than ``TOLERANCE``, or an
            item fails.
    """
    runners = (Runner(model, bundle, torch.device("cpu")), Runner(graphs, bundle, None))
    decoding = runners[0].decoding
    request = Request(_all_hypotheses(decoding), batch_size, conditions=False, join_parts=False)
    done = Difference()
    for first, second in zip(*(runner.stream(items, request) for runner in runners), strict=True):
        done = _add(done, first, second)
    return done


def _all_hypotheses(decoding: Decoding) -> Decoding:
    return replace(decoding, nbest=decoding.beam) if decoding.method == "beam" else decoding


def _add(done: Difference, first: Result, second: Result) -> Difference:
    for result in (first, second):
        if result.error:
            raise result.error
    if len(first.generations) != len(second.generations):
        raise CondgenError(f"{first.input:.80}: {len(first.generations)} outputs in torch, {len(second.generations)} by graphs")
    for one, other in zip(first.generations, second.generations, strict=True):
        done = _add_outputs(done, one, other, first.input)
    return replace(done, items=done.items + 1)


def _add_outputs(done: Difference, one: Generation, other: Generation, source: str) -> Difference:
    texts = str(one.output), str(other.output)
    if texts[0] != texts[1] or one.tokens != other.tokens or list(one.attention) != list(other.attention):
        raise CondgenError(f"{source:.80}: the output is {texts[0]!r:.200} in torch, {texts[1]!r:.200} by graphs")
    log_prob = _largest(one.log_probs, other.log_probs)
    maps = [(one.attention[name].weights, other.attention[name].weights) for name in one.attention]
    attention = max((_largest(*pair) for pair in maps), default=0.0)
    if not max(log_prob, attention) <= TOLERANCE:
        raise CondgenError(f"{source:.80}: log-probabilities differ by {log_prob:.1e}, attention by {attention:.1e}")
    return replace(
        done, outputs=done.outputs + 1, log_prob=max(done.log_prob, log_prob), attention=max(done.attention, attention)
    )


def _largest(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference of two arrays; NaN if their shapes differ."""
    if np.shape(one) != np.shape(other):
        return float("nan")
    return float(np.abs(np.asarray(one, np.float64) - other).max(initial=0.0))
