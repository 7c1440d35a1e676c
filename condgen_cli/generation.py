"""What a model returns: the output, and its attention while generating it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from condgen_cli.explain.curves import Curves

__all__ = ["KINDS", "MAX_JOINED", "AttentionMap", "Axis", "Generation", "join"]

KINDS = ("tokens", "grid", "time", "frames", "sentences", "slots", "hops", "heads")
"""The kinds of axes. ``grid`` axes come in pairs, rows then columns; labels of ``time`` and ``frames`` are seconds."""

MAX_JOINED = 4_000_000
"""Largest number of weights of a joined attention map: 2,000 tokens by 2,000 tokens."""


@dataclass(frozen=True)
class Axis:
    """One axis of an attention map.

    Args:
        name: the name shown to people, such as ``word`` or ``row``.
        kind: one of ``KINDS``; it decides how the axis is drawn.
        labels: one for each position: strings, or for ``time`` and ``frames`` the position's start in seconds.
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
        weights: (steps, *positions), non-negative; for each step (and hop or head) they sum to 1.
        axes: one for each dimension of ``weights``; the first is that of the steps.
    Raises:
        ValueError: if the axes don't match the shape of the weights.
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
        """Number of distributions of a step: the product of the hops and heads axes, 1 without them."""
        return int(np.prod([len(axis) for axis in self.axes[1:] if axis.kind in ("hops", "heads")], dtype=int))

    @property
    def positions(self) -> tuple[Axis, ...]:
        """The axes of the positions that are attended to."""
        return tuple(axis for axis in self.axes[1:] if axis.kind not in ("hops", "heads"))

    def distributions(self) -> NDArray[np.float32]:
        """Weights (steps, heads, positions), the position axes flattened in order."""
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
        output: the result: a text, an answer, the content of a file.
        tokens: (steps,) the generated tokens, including the end token if the model wrote it.
        log_probs: (len(tokens),) natural log-probability of each token.
        score: the score that hypotheses are ranked by.
        attention: attention maps by name, such as ``attention`` or ``hops``.
        condition: the background that attention is drawn on: a PIL image for a grid, a ``Clip`` for frames; None: none.
        extras: further numbers of each step by name, such as the gate of Show, Attend and Tell; (len(tokens),) each.
        unread: the parts of the input that the model has no token for, such as rare characters.
        details: further results of the task, ready for JSON: lists by name, such as words with their times.
        warnings: warnings for the user about the input, one line each.
        doubt: why the output is unreliable, such as ``a guess: the story never mentions Bob``; empty: no reason known. It is
            printed after the output in text, and among the warnings in JSON.
        confidence: probability, from 0 to 1, that the output is right in the sense of the model's card; None: unknown.
        seconds: wall-clock time in seconds: that of its batch, including reading the inputs, divided by the number of inputs.
        reference_log_probs: for each of the item's references (T,), natural log-probabilities of its tokens; empty unless
            requested.
        references: for each of the item's references, its forced decoding: what the model attends to when it is made to write
            it. Empty unless requested.
        curves: by method of explanation, how faithful its map is. Empty unless requested.
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
    confidence: float | None = None
    seconds: float = 0.0
    reference_log_probs: tuple[NDArray[np.float32], ...] = ()
    references: tuple[Generation, ...] = ()
    curves: Mapping[str, Curves] = field(default_factory=dict)

    @property
    def mean_log_prob(self) -> float | None:
        """Mean log-probability of a token under the model, in nats, independent of length, search and scorer weights; None
        without tokens."""
        return float(np.mean(self.log_probs, dtype=np.float64)) if len(self.log_probs) else None


def join(generations: Sequence[Generation]) -> Generation:
    """Join the outputs of an input's parts, given in order.

    Outputs, which must be texts, are joined by a space; tokens, log-probabilities, extras and details are concatenated; scores
    are added. The attention map is block-diagonal, since each part attends only to itself. Its size grows with the square of
    the input's length; a map of more than ``MAX_JOINED`` weights is left out.

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
