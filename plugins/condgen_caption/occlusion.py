"""Photos and frames with parts painted over, to see which of them an output depends on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from condgen_cli.data.clip import Clip
from condgen_cli.data.image import resize

__all__ = ["hide_cells", "hide_frames"]


def hide_cells(photo: Image.Image, size: int, grid: int, hidden: NDArray[np.bool_]) -> list[Image.Image]:
    """Copies of a photo with cells of a grid over it in the photo's mean colour.

    Args:
        photo: the photo.
        size: side in pixels of the square that it is resized to.
        grid: cells along a side.
        hidden: (copies, grid · grid), True for cells to paint over, in reading order.
    """
    pixels = resize(photo, size)
    mean = pixels.mean((1, 2), keepdims=True).round().astype(np.uint8)
    cell = np.arange(size) * grid // size
    masks = hidden.reshape(-1, grid, grid)[:, cell[:, None], cell]
    return [Image.fromarray(np.where(mask, mean, pixels).transpose(1, 2, 0)) for mask in masks]


def hide_frames(clip: Clip, hidden: NDArray[np.bool_]) -> list[Clip]:
    """Copies of a clip in which the frames ``hidden`` (copies, frames) have their mean colour everywhere."""

    def paint(frame: Image.Image) -> Image.Image:
        colour = np.asarray(frame.convert("RGB")).mean((0, 1)).round().astype(int)
        return Image.new("RGB", frame.size, (int(colour[0]), int(colour[1]), int(colour[2])))

    painted = [paint(frame) for frame in clip.frames]
    pairs = list(zip(clip.frames, painted, strict=True))
    return [replace(clip, frames=tuple(pair[int(gone)] for pair, gone in zip(pairs, row, strict=True))) for row in hidden]
