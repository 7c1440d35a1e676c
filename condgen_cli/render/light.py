"""Attention as light on a picture: cell (r, c) of an h×w grid covers the rectangle [c/w, (c+1)/w] × [r/h, (r+1)/h]."""

from __future__ import annotations

from functools import lru_cache
from math import erf, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["GREYNESS", "LIGHT", "SHADE", "SOFTNESS", "brighten", "light_up", "picture", "spread"]

Floats = NDArray[np.float64]

SOFTNESS = 0.5
"""Standard deviation of the blur at a cell's edge, in cells; Xu et al. use about the same."""
SHADE = 0.78
"""Share of its brightness that the unlit part loses."""
GREYNESS = 0.6
"""Share of its colour that the unlit part loses."""
LIGHT = 0.12
"""Share of white that the lit part is blended with, so that dark places are visibly lit."""


@lru_cache(maxsize=32)
def _blur(cells: int, pixels: int) -> Floats:
    """(pixels, cells): weight of each cell at each pixel, the integral of a Gaussian over the cell. Rows sum to 1.

    The outer cells extend beyond the border, so that the border is as bright as its cell.
    """
    centres = (np.arange(pixels) + 0.5) * cells / pixels
    edges = np.arange(1, cells)
    distances = (edges - centres[:, None]) / (SOFTNESS * sqrt(2))
    below = np.array([[0.5 + 0.5 * erf(distance) for distance in row] for row in distances]).reshape(pixels, cells - 1)
    return np.diff(below, axis=1, prepend=0.0, append=1.0)


def spread(weights: Floats, size: tuple[int, int]) -> Floats:
    """A smooth brightness map (height, width), from 0 to 1, of weights (h, w) for a picture of ``size`` (width, height)."""
    smooth = _blur(weights.shape[0], size[1]) @ weights @ _blur(weights.shape[1], size[0]).T
    peak = smooth.max()
    return smooth / peak if peak > 0 else np.zeros_like(smooth)


def light_up(image: Image.Image, weights: Floats) -> Image.Image:
    """An RGB picture lit by weights (h, w); unlit parts are dark and nearly grey."""
    dark, lit = _unlit_and_lit(image)
    light = Image.fromarray(np.rint(255 * spread(weights, image.size)).astype(np.uint8))
    return Image.composite(lit, dark, light)


def brighten(image: Image.Image, level: float) -> Image.Image:
    """An RGB picture blended between unlit, dark and nearly grey (0), and lit (1)."""
    return Image.blend(*_unlit_and_lit(image), level)


def _unlit_and_lit(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    grey = Image.blend(image, image.convert("L").convert("RGB"), GREYNESS)
    dark = Image.blend(grey, Image.new("RGB", image.size, "black"), SHADE)
    return dark, Image.blend(image, Image.new("RGB", image.size, "white"), LIGHT)


def picture(condition: Any, grid: tuple[int, int]) -> Image.Image:
    """The condition as an RGB picture, or a grey one in the shape of the grid (rows, columns) if it isn't a picture."""
    if isinstance(condition, Image.Image) and min(condition.size) > 0:
        return condition.convert("RGB")
    rows, columns = grid
    return Image.new("RGB", (columns * 48, rows * 48), (150, 150, 150))
