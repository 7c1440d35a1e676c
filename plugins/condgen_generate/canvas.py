"""The given pixels of a picture that a model completes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from condgen_cli.errors import InputError, UsageError
from condgen_cli.item import Item
from condgen_generate.prompt import Prompt

__all__ = ["UNKNOWN", "known_pixels"]

UNKNOWN = -1
"""Value of a pixel that isn't given."""
OPAQUE = 128
"""Least alpha of a given pixel."""


def known_pixels(item: Item, shape: tuple[int, int], palette: Sequence[str]) -> NDArray[np.int64]:
    """Given pixels of an item's condition as the nearest colours, (height, width), ``UNKNOWN`` elsewhere.

    Without a picture no pixel is given. Transparent pixels are unknown, and so are rows missing at the bottom of the picture.

    Args:
        item: item with a picture or an empty prompt as condition.
        shape: height and width of the model's pictures.
        palette: colours as ``rrggbb``.
    Raises:
        UsageError: if a prompt was made with options for texts.
        InputError: if the condition is neither a picture nor an empty prompt, or the picture has another size.
    """
    known = np.full(shape, UNKNOWN, np.int64)
    condition = item.condition
    if isinstance(condition, Prompt):
        if condition.flags:
            raise UsageError(f"the model writes pictures: it can't use {', '.join(condition.flags)}", "-m poem")
        if condition == Prompt(exact=condition.exact, simplified=condition.simplified):
            return known
    if condition is None:
        return known
    height, width = shape
    if not isinstance(condition, Image.Image):
        raise InputError("the model writes pictures: it can't continue a text", "--complete PICTURE")
    if condition.width != width or condition.height > height:
        raise InputError(
            f"{item.source or item.id} has {condition.width}x{condition.height} pixels, the model writes {width}x{height}",
            "give the first rows in full width, or a whole picture with unknown pixels transparent",
        )
    pixels = np.asarray(condition.convert("RGBA"), np.int64)
    colors = np.array([tuple(bytes.fromhex(color)) for color in palette], np.int64)
    nearest = ((pixels[:, :, None, :3] - colors) ** 2).sum(-1).argmin(-1)
    known[: condition.height] = np.where(pixels[..., 3] >= OPAQUE, nearest, UNKNOWN)
    return known
