"""Attention as panels for the renderers: one panel per map and head or hop."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from condgen_cli.explain import METHODS
from condgen_cli.generation import AttentionMap, Axis, Generation
from condgen_cli.render.pieces import joins_previous, label, readable, words

__all__ = ["Panel", "Weights", "is_explained", "panels", "sum_bins"]

Weights = NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """The weights of one attention map and one head or hop.

    Args:
        title: map and head; empty if the generation has only one, unless it is a method of explanation.
        steps: label of each step, for display.
        axes: two axes of kind ``grid`` (rows, columns), or one of any kind, with labels for display.
        weights: (steps, rows, columns) or (steps, positions), finite and not negative.
        words: for the steps and for each axis, the labels as in a text, without marks.
        joined: for the steps and for each axis, whether each label follows the previous one without a space.
        step_axis: name and kind of the axis of steps.
    """

    title: str
    steps: tuple[str, ...]
    axes: tuple[Axis, ...]
    weights: Weights
    words: tuple[tuple[str | float, ...], ...]
    joined: tuple[tuple[bool, ...], ...]
    step_axis: tuple[str, str] = ("token", "tokens")

    @property
    def is_hops(self) -> bool:
        """Whether it is drawn as a table with sentences down and hops across."""
        return self.step_axis[1] == "hops" and [axis.kind for axis in self.axes] == ["sentences"]

    @property
    def is_grid(self) -> bool:
        return len(self.axes) == 2

    @property
    def has_continuations(self) -> bool:
        """Whether a label is marked as a continuation of a word."""
        return self.words != (self.steps, *(axis.labels for axis in self.axes))

    @property
    def peaks(self) -> Weights:
        """(steps,) largest weight of each step."""
        return self.weights.reshape(len(self.steps), -1).max(-1, initial=0.0)

    def relative(self) -> Weights:
        """Weights divided by the peak of their step, from 0 to 1; 0 for a step without weight."""
        peaks = self.peaks.reshape(-1, *[1] * len(self.axes))
        return np.divide(self.weights, peaks, out=np.zeros_like(self.weights), where=peaks > 0)


def panels(generation: Generation, encoding: str = "utf-8") -> list[Panel]:
    """The panels of all maps with steps and positions; characters of labels that ``encoding`` can't encode are escaped."""
    several = len(generation.attention) > 1 or is_explained(generation)
    maps = {name: map for name, map in generation.attention.items() if map.weights.size}
    return [panel for name, map in maps.items() for panel in _split(name, map, several, encoding)]


def is_explained(generation: Generation) -> bool:
    """Whether there is a map by a method of explanation beside the model's own attention, or in its place."""
    return not METHODS.keys().isdisjoint(generation.attention.keys() - {"attention"})


def _split(name: str, map: AttentionMap, several: bool, encoding: str) -> Iterator[Panel]:
    axes = (map.steps, *_drawable(map.positions))
    shown = [readable(axis, encoding) for axis in axes]
    texts = tuple(axis.labels if axis.kind == "time" else words(axis, encoding) for axis in axes)
    follows = tuple(joins_previous(axis) for axis in axes)
    distributions = np.maximum(np.nan_to_num(map.distributions().astype(np.float64), posinf=0.0), 0.0)
    steps, positions = tuple(label(step) for step in shown[0].labels), tuple(shown[1:])
    for head, title in enumerate(_head_titles(map)):
        parts = [part for part in (name if several else "", title) if part]
        weights = distributions[:, head].reshape([len(axis) for axis in axes])
        yield Panel(", ".join(parts), steps, positions, weights, texts, follows, (map.steps.name, map.steps.kind))


def _drawable(positions: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """A pair of grid axes or a single axis unchanged; other axes flattened into one."""
    if [axis.kind for axis in positions] == ["grid", "grid"] or len(positions) == 1:
        return positions
    labels = tuple(" ".join(map(label, combination)) for combination in itertools.product(*(axis.labels for axis in positions)))
    return (Axis("-".join(axis.name for axis in positions) or "position", "slots", labels),)


def _head_titles(map: AttentionMap) -> list[str]:
    axes = [axis for axis in map.axes[1:] if axis.kind in ("hops", "heads")]
    named = [[f"{axis.name} {label(value)}" for value in axis.labels] for axis in axes]
    return [", ".join(combination) for combination in itertools.product(*named)]


def sum_bins(weights: Weights, limit: int, axis: int = -1) -> tuple[Weights, int]:
    """Sum weights in bins of equal size along ``axis``, at most ``limit`` bins; return the sums and the size of a bin."""
    size = -(-weights.shape[axis] // limit)
    return np.add.reduceat(weights, np.arange(0, weights.shape[axis], size), axis), size
