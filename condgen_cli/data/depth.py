"""Converting pixel values of any type and bit depth to bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DARK", "to_bytes"]

_INTEGERS = (1, 255, 1023, 4095, 16383)
"""White in pictures of 1, 8, 10, 12 and 14 bits, in any integer type."""

_FLOATS = (1.0, 255.0, 65535.0)

_WIDENED = 257
"""8-bit values widened to 16 bits are multiples of this, so that their white is known, however dark a picture is."""

_FAINT = 1 / 8
"""Minimum largest value of floats, as a share of white; below it, the largest value itself is taken for white."""

_ROWS = 256
"""Number of rows that are converted to floats at a time."""

DARK = 64
"""High bytes of 16-bit values are below this if a picture has 14 bits or fewer."""


def to_bytes(values: NDArray[Any], white: int | None = None) -> NDArray[np.uint8]:
    """Convert numbers of any type to bytes of the same shape. Black is 0, or the smallest number if that is negative.

    White is the value that the file declares; otherwise the largest number with the bit depth that the largest value needs,
    among those of cameras, scanners and medical devices (10, 12, 14, 16); beyond them the largest value itself. NaN is black.

    Args:
        values: numbers of any shape.
        white: number for white, if the file declares it.
    """
    numbers = np.asarray(values)
    numbers = numbers.astype(numbers.dtype.newbyteorder("="), copy=False)
    if numbers.dtype == np.bool_:
        return np.where(numbers, 255, 0).astype(np.uint8)
    finite = numbers[np.isfinite(numbers)] if numbers.dtype.kind == "f" else numbers
    if not finite.size:
        return np.zeros(numbers.shape, np.uint8)
    least, largest = float(finite.min()), float(finite.max())
    black = min(least, 0.0)
    declared = white is not None and least >= 0 and largest <= white
    top = float(white or 0) if declared else _white(numbers, least, largest)
    scale = 255.0 / (top - black) if top > black else 0.0
    if numbers.dtype == np.uint16:
        table = np.rint((np.arange(65536.0) * scale).clip(0.0, 255.0)).astype(np.uint8)
        return table[numbers]
    result = np.empty(numbers.shape, np.uint8)
    for start in range(0, len(numbers), _ROWS):
        wide = np.nan_to_num(numbers[start : start + _ROWS].astype(np.float64), nan=black, posinf=top, neginf=black)
        result[start : start + _ROWS] = np.rint(((wide - black) * scale).clip(0.0, 255.0))
    return result


def _white(numbers: NDArray[Any], least: float, largest: float) -> float:
    """The number for white, from the type and range of the numbers."""
    if least < 0:
        return largest
    if numbers.dtype.kind == "f":
        limit = next((limit for limit in _FLOATS if largest <= limit), largest)
        return limit if largest >= _FAINT * limit else largest
    if numbers.dtype.itemsize == 1:
        return float(np.iinfo(numbers.dtype).max)
    if numbers.dtype.itemsize == 2 and not (numbers % _WIDENED).any():
        return float(np.iinfo(numbers.dtype).max)
    full = 32767 if numbers.dtype == np.int16 else 65535
    return float(next((limit for limit in (*_INTEGERS, full) if largest <= limit), largest))
