"""Whether a model's graphs compute what the model does: the same hypotheses, probabilities and attention on the same items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from condgen_cli.contract import SequenceContract
from condgen_cli.errors import CondgenError
from condgen_cli.generation import Generation
from condgen_cli.item import Item
from condgen_cli.running.bundle import Bundle
from condgen_cli.running.decoding import Decoding, decode, force
from condgen_cli.running.request import Request
from condgen_cli.running.results import Result
from condgen_cli.running.runner import Runner

__all__ = ["TOLERANCE", "Difference", "compare"]

LONGEST = 100
"""Number of tokens up to which outputs are drawn: a stream has no end of its own."""
TOLERANCE = 1e-4
"""Largest difference of a log-probability, in nats, or of an attention weight."""

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


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


def compare(
    bundle: Bundle, model: SequenceContract, graphs: SequenceContract, items: Sequence[Item], batch_size: int = 16
) -> Difference:
    """Compare a model in torch with its graphs: all hypotheses of its own search. Of a model that draws its outputs, the
    probabilities of outputs that torch has drawn: where two tokens meet, a draw may fall on either side.

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
    done = Difference()
    if decoding.method == "sample":
        decoding = replace(decoding, max_length=min(decoding.max_length, LONGEST), min_length=1)
        for start in range(0, len(items), batch_size):
            done = _add_samples(done, model, graphs, items[start : start + batch_size], decoding)
        return done
    request = Request(_all_hypotheses(decoding), batch_size, conditions=False, join_parts=False)
    for first, second in zip(*(runner.stream(items, request) for runner in runners), strict=True):
        done = _add(done, first, second)
    return done


def _add_samples(
    done: Difference, model: SequenceContract, graphs: SequenceContract, items: Sequence[Item], decoding: Decoding
) -> Difference:
    with torch.inference_mode():
        memory = model.encode(model.collate(items))
        drawn = [row[0].ids for row in decode(model, memory, decoding, list(range(len(items))))]
        wanted = force(model, memory, drawn)
    found = force(graphs, graphs.encode(graphs.collate(items)), drawn)
    for item, one, other in zip(items, wanted, found, strict=True):
        pairs = [(one.attention[name], other.attention[name]) for name in one.attention]
        done = _add_numbers(done, (one.log_probs, other.log_probs), pairs, item.id)
    return replace(done, items=done.items + len(items))


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
    maps = [(one.attention[name].weights, other.attention[name].weights) for name in one.attention]
    return _add_numbers(done, (one.log_probs, other.log_probs), maps, source)


def _add_numbers(done: Difference, log_probs: Pair, maps: Sequence[Pair], source: str) -> Difference:
    log_prob, attention = _largest(*log_probs), max((_largest(*pair) for pair in maps), default=0.0)
    if not max(log_prob, attention) <= TOLERANCE:
        raise CondgenError(f"{source:.80}: log-probabilities differ by {log_prob:.1e}, attention by {attention:.1e}")
    return replace(
        done, outputs=done.outputs + 1, log_prob=max(done.log_prob, log_prob), attention=max(done.attention, attention)
    )


def _largest(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Largest difference of two arrays; NaN if their shapes differ."""
    if np.shape(one) != np.shape(other):
        return float("nan")
    return float(np.abs(np.asarray(one, np.float64) - other).max(initial=0.0))
