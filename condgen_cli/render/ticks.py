"""Ticks of a matrix with more positions than labels fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from condgen_cli.generation import Axis
from condgen_cli.render.pieces import label

__all__ = ["ticks"]


def ticks(axis: Axis, most: int) -> list[tuple[int, str]]:
    """At most ``most + 1`` pairs (position, label): round numbers of seconds on a time axis, every k-th label on others."""
    most = max(1, most)
    if axis.kind == "time":
        return _seconds(np.array(axis.labels, dtype=np.float64), most)
    stride = _round_up(len(axis) / most, smallest=1.0)
    return [(index, label(axis.labels[index])) for index in range(0, len(axis), int(stride))]


def _seconds(starts: NDArray[np.float64], most: int) -> list[tuple[int, str]]:
    length = float(starts[-1] - starts[0])
    if length <= 0:
        return [(0, f"{starts[0]:g}s")]
    stride = _round_up(length / most)
    first, last = np.ceil(starts[0] / stride - 1e-9), np.floor(starts[-1] / stride + 1e-9)
    marks = np.arange(first, last + 1) * stride
    positions = np.clip(np.searchsorted(starts, marks + 1e-9, "right") - 1, 0, None)
    return [(int(position), f"{mark + 0.0:.6g}s") for position, mark in zip(positions, marks, strict=True)]


def _round_up(value: float, smallest: float = 0.0) -> float:
    """The smallest number in 1, 2, 5, 10, 20, 50 … (or 0.1, 0.2, 0.5 …) that is at least ``value``."""
    value = max(value, smallest)
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9)))
