"""Boxes around the things of a photo."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Box"]


class Box(NamedTuple):
    """A box around a thing of a photo.

    Args:
        name: name of the thing's class, one of COCO's 80.
        left, top, width, height: the box, in fractions of the photo's width and height.
    """

    name: str
    left: float
    top: float
    width: float
    height: float
