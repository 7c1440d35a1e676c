"""What a model gives back: the output, and what it looked at while writing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["KINDS", "MAX_JOINED", "AttentionMap", "Axis", "Generation", "join"]

KINDS = ("tokens", "grid", "time", "frames", "sentences", "slots", "hops", "heads")
"""What the positions of an axis are. ``grid`` axes come in pairs, rows then columns; ``time`` and ``frames`` are labelled in
seconds."""

MAX_JOINED = 4_000_000
"""Weights that a joined attention map may have: 2,000 tokens against 2,000."""


@dataclass(frozen=True)
class Axis:
    """One axis of an attention map.

    Args:
        name: what a reader calls it, such as ``word`` or ``row``.
        kind: one of ``KINDS``; renderers choose by it.
        labels: one for each position: strings, or numbers for ``time`` and ``frames`` (seconds at which the position starts).
    """

    name: str
    kind: str
    labels: tuple[str | float, ...]

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"axis kind {self.kind!r} is not one of {', '.join(KINDS)}")

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def numbered(cls, name: str, kind: str, size: int) -> Axis:
        return cls(name, kind, tuple(str(index) for index in range(size)))


@dataclass(frozen=True)
class AttentionMap:
    """Attention weights with labelled axes.

    Args:
        weights: (steps, *positions), non-negative; over the axes after ``steps`` (and after hops or heads) they sum to 1.
        axes: one for each dimension of ``weights``; the first is the steps.
    Raises:
        ValueError: if axes and weights don't fit.
    """

    weights: NDArray[np.float32]
    axes: tuple[Axis, ...]

    def __post_init__(self) -> None:
        shape = tuple(len(axis) for axis in self.axes)
        if self.weights.shape != shape:
            raise ValueError(f"weights of shape {self.weights.shape} on axes of shape {shape}")

    @property
    def steps(self) -> Axis:
        return self.axes[0]

    @property
    def heads(self) -> int:
        """How many distributions a step has: the product of the hops and heads axes, 1 without them."""
        return int(np.prod([len(axis) for axis in self.axes[1:] if axis.kind in ("hops", "heads")], dtype=int))

    @property
    def positions(self) -> tuple[Axis, ...]:
        """The axes that a distribution runs over."""
        return tuple(axis for axis in self.axes[1:] if axis.kind not in ("hops", "heads"))

    def distributions(self) -> NDArray[np.float32]:
        """Weights as (steps, heads, positions), position axes flattened in order."""
        return self.weights.reshape(len(self.steps), self.heads, -1)

    def entropy(self) -> NDArray[np.float64]:
        """Shannon entropy in bits, (steps, heads): 0 for one position, log2 of the number of positions when uniform."""
        p = self.distributions().astype(np.float64)
        total = p.sum(-1, keepdims=True)
        p = np.divide(p, total, out=np.zeros_like(p), where=total > 0)
        return -(p * np.log2(p, out=np.zeros_like(p), where=p > 0)).sum(-1)

    def strongest(self, step: int, count: int = 3, head: int = 0) -> list[tuple[tuple[int, ...], float]]:
        """The ``count`` heaviest positions of one step: (indices along ``positions``, weight), heaviest first."""
        p = self.distributions()[step, head]
        shape = tuple(len(axis) for axis in self.positions)
        order = np.argsort(-p, kind="stable")[:count]
        return [(tuple(int(i) for i in np.unravel_index(cell, shape)), float(p[cell])) for cell in order]

    def as_json(self) -> dict[str, Any]:
        axes = [{"name": axis.name, "kind": axis.kind, "labels": list(axis.labels)} for axis in self.axes]
        return {"axes": axes, "weights": np.round(self.weights.astype(np.float64), 6).tolist()}


@dataclass(frozen=True)
class Generation:
    """One output.

    Args:
        output: what the user asked for: text, an answer, a file's content.
        tokens: the steps it was written in, end token included if the model wrote one.
        log_probs: (len(tokens),) natural log-probability of each token.
        score: what hypotheses were ranked by.
        attention: by name, such as ``attention`` or ``hops``.
        condition: what the positions lie on, for drawing: a PIL image for a grid, a ``Clip`` for frames; None if there is
            nothing to draw on.
        extras: per-step numbers that explain the model, such as the gate of Show, Attend and Tell; (len(tokens),) each.
        unread: what the model has no token for in its input, such as rare characters.
        details: what the task tells besides, ready for JSON: lists by name, such as words with their times.
        warnings: what the user should be told about the input, a line each.
        doubt: why the output is not to be relied on, such as ``a guess: the story never mentions Bob``; empty if nothing speaks
            against it. As text it is printed behind the output, in JSON among the warnings.
        seconds: of wall clock that it took: those of its batch, reading the inputs included, divided by the batch's inputs.
        reference_log_probs: where asked for, of each of the item's references (T,), the natural log-probability of each token.
    """

    output: Any
    tokens: tuple[str, ...] = ()
    log_probs: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    score: float = 0.0
    attention: Mapping[str, AttentionMap] = field(default_factory=dict)
    condition: Any = None
    extras: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    details: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    doubt: str = ""
    seconds: float = 0.0
    reference_log_probs: tuple[NDArray[np.float32], ...] = ()

    @property
    def mean_log_prob(self) -> float | None:
        """Mean log-probability of a token under the model, in nats: comparable whatever the length, the search and its weights.
        None without tokens."""
        return float(np.mean(self.log_probs, dtype=np.float64)) if len(self.log_probs) else None


def join(generations: Sequence[Generation]) -> Generation:
    """One output from those of an input's parts, in order.

    Outputs, which are texts, are joined by a blank; tokens, log-probabilities, extras and details follow one another; scores
    add up. An attention map is block-diagonal: each part looks at itself alone. It grows with the square of the input's length,
    so one of more than ``MAX_JOINED`` weights is left out.

    Raises:
        ValueError: if maps of the same name differ in the kinds of their axes, or in the number of heads or hops.
    """
    first, *others = generations
    if not others:
        return first
    attention = {}
    for name in first.attention:
        maps = [one.attention[name] for one in generations if name in one.attention]
        if len(maps) == len(generations) and prod(len(axis) for axis in _joined_axes(maps)) <= MAX_JOINED:
            attention[name] = _block_diagonal(maps)
    conditions = [one.condition for one in generations]
    return Generation(
        output=" ".join(one.output for one in generations if one.output),
        tokens=tuple(token for one in generations for token in one.tokens),
        log_probs=np.concatenate([one.log_probs for one in generations]),
        score=sum(one.score for one in generations),
        seconds=sum(one.seconds for one in generations),
        attention=attention,
        condition=" ".join(conditions) if all(isinstance(condition, str) for condition in conditions) else None,
        extras={name: np.concatenate([one.extras[name] for one in generations]) for name in first.extras},
        unread=tuple(text for one in generations for text in one.unread),
        details={name: [detail for one in generations for detail in one.details[name]] for name in first.details},
        warnings=tuple(dict.fromkeys(warning for one in generations for warning in one.warnings)),
        doubt="; ".join(dict.fromkeys(one.doubt for one in generations if one.doubt)),
    )


def _joined_axes(maps: Sequence[AttentionMap]) -> tuple[Axis, ...]:
    joined = []
    for axes in zip(*(map.axes for map in maps), strict=True):
        first = axes[0]
        shared = first.kind in ("hops", "heads")
        if any(axis.kind != first.kind or (shared and len(axis) != len(first)) for axis in axes):
            raise ValueError(f"axes can't be joined: {', '.join(f'{len(axis)} {axis.kind}' for axis in axes)}")
        joined.append(first if shared else Axis(first.name, first.kind, tuple(label for axis in axes for label in axis.labels)))
    return tuple(joined)


def _block_diagonal(maps: Sequence[AttentionMap]) -> AttentionMap:
    axes = _joined_axes(maps)
    weights = np.zeros([len(axis) for axis in axes], np.float32)
    corner = [0] * len(axes)
    for map in maps:
        block = tuple(slice(start, start + len(axis)) for start, axis in zip(corner, map.axes, strict=True))
        weights[block] = map.weights
        corner = [
            start if axis.kind in ("hops", "heads") else start + len(axis) for start, axis in zip(corner, map.axes, strict=True)
        ]
    return AttentionMap(weights, axes)
