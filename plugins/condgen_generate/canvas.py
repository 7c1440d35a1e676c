"""What is known of a picture before a model writes it."""

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
"""A pixel that is to be written."""
OPAQUE = 128
"""Alpha from which on a pixel is known."""


def known_pixels(item: Item, shape: tuple[int, int], palette: Sequence[str]) -> NDArray[np.int64]:
    """The known pixels of an item's condition in the nearest colours, (height, width), ``UNKNOWN`` elsewhere.

    Nothing is known without a picture. Its transparent pixels are unknown, and so is what lies below it if it is less high than
    it should be.

    Raises:
        UsageError: if a prompt was made with options of texts.
        InputError: if the condition is neither a picture nor an empty prompt, or the picture has another size.
    """
    known = np.full(shape, UNKNOWN, np.int64)
    condition = item.condition
    if isinstance(condition, Prompt):
        if condition.flags:
            raise UsageError(f"the model writes pictures: it goes without {', '.join(condition.flags)}", "-m poem")
        if condition == Prompt(exact=condition.exact, simplified=condition.simplified):
            return known
    if condition is None:
        return known
    height, width = shape
    if not isinstance(condition, Image.Image):
        raise InputError("the model writes pictures: it goes on from no text", "--complete PICTURE")
    if condition.width != width or condition.height > height:
        raise InputError(
            f"{item.source or item.id} has {condition.width}x{condition.height} pixels, the model writes {width}x{height}",
            "a part of it has the same width, or its unknown pixels are transparent",
        )
    pixels = np.asarray(condition.convert("RGBA"), np.int64)
    colors = np.array([tuple(bytes.fromhex(color)) for color in palette], np.int64)
    nearest = ((pixels[:, :, None, :3] - colors) ** 2).sum(-1).argmin(-1)
    known[: condition.height] = np.where(pixels[..., 3] >= OPAQUE, nearest, UNKNOWN)
    return known
