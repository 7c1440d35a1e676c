"""A decoded frame of a video as pixels, and its orientation."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from numpy.typing import NDArray
from PIL import Image

__all__ = ["pixels_of", "turn_of"]


def pixels_of(frame: VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
    """A frame scaled to a size in pixels: (height, width, 3) RGB, or (height, width, 4) RGBA if it may be transparent."""
    transparent = any(component.is_alpha for component in frame.format.components) or frame.format.name == "pal8"
    smaller = frame.reformat(width, height, "rgba" if transparent else "rgb24", interpolation=Interpolation.AREA)
    return np.ascontiguousarray(smaller.to_ndarray())


def turn_of(frame: VideoFrame) -> Image.Transpose | None:
    """The rotation or reflection that makes a frame upright, from its display matrix; None if it is upright."""
    found: Any = frame.side_data.get(SideDataType.DISPLAYMATRIX)  # type: ignore[call-overload]
    data = bytes(found) if found is not None else b""
    if len(data) < 20:
        return None
    # x' = a x + c y and y' = b x + d y, with y pointing down
    a, b, _, c, d = struct.unpack_from("=5i", data)
    if abs(a) >= abs(c):
        return _FLIPS[a < 0, d < 0]
    return _QUARTER_TURNS[c < 0, b < 0]


_FLIPS = {
    (False, False): None,
    (True, False): Image.Transpose.FLIP_LEFT_RIGHT,
    (False, True): Image.Transpose.FLIP_TOP_BOTTOM,
    (True, True): Image.Transpose.ROTATE_180,
}
_QUARTER_TURNS = {
    (False, False): Image.Transpose.TRANSPOSE,
    (True, False): Image.Transpose.ROTATE_270,
    (False, True): Image.Transpose.ROTATE_90,
    (True, True): Image.Transpose.TRANSVERSE,
}
