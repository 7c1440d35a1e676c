"""Windows: the groups of positions that are occluded together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from condgen_cli.generation import Axis
from condgen_cli.render.pieces import joins_previous

__all__ = ["Windows", "make_windows"]

SECONDS = 0.2
"""Length of a window of sound: about that of a syllable."""
SMALLEST_GRID = 6
"""Size of a grid's axis from which on windows are three cells wide; on a smaller one that would be half of it."""
MOST = 96
"""Largest number of windows along an axis; with more positions, windows are further apart."""


class Windows(NamedTuple):
    """Windows over n positions.

    Args:
        hidden: (windows, n), True for the positions of each window.
        of: (n,) index of the window around each position.
    """

    hidden: NDArray[np.bool_]
    of: NDArray[np.intp]


def make_windows(axes: Sequence[Axis]) -> Windows:
    """Windows over the positions of a memory, one around each position, in the size that suits the kinds of their axes.

    On a grid a window is 3×3 cells, in time 0.2 seconds; among tokens it is the word that the token belongs to; elsewhere it is
    the position alone: a frame, a sentence, a slot. A window at the border is cut.
    """
    hidden, of = np.ones((1, 1), bool), np.zeros(1, np.intp)
    for axis in axes:
        along = _along(axis)
        hidden = np.kron(hidden, along.hidden).astype(bool)
        of = (of[:, None] * len(along.hidden) + along.of).ravel()
    return Windows(hidden, of)


def _along(axis: Axis) -> Windows:
    if axis.kind == "tokens":
        return _words(axis)
    return _sliding(len(axis), _width(axis))


def _width(axis: Axis) -> int:
    """Width of a window in positions."""
    if axis.kind == "grid":
        return 3 if len(axis) >= SMALLEST_GRID else 1
    if axis.kind == "time" and len(axis) > 1:
        return max(1, round(SECONDS / (float(axis.labels[1]) - float(axis.labels[0]))))
    return 1


def _sliding(count: int, width: int) -> Windows:
    hop = -(-count // MOST)
    width = max(width, hop)
    centres = np.arange(hop // 2, count, hop)
    first = centres[:, None] - (width - 1) // 2
    places = np.arange(count)
    return Windows((first <= places) & (places < first + width), np.minimum(places // hop, len(centres) - 1))


def _words(axis: Axis) -> Windows:
    of = np.cumsum([not joined for joined in joins_previous(axis)]) - 1
    of = of - of.min(initial=0)
    return Windows(np.arange(of.max(initial=-1) + 1)[:, None] == of, of)
