"""TIFF files that Pillow doesn't read, or not correctly: values of other types than bytes, and truncated files."""

from __future__ import annotations

import logging
import math
import os
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from condgen_cli.data.depth import to_bytes

__all__ = ["TiffPicture", "read_tiff"]

_MAX_VALUE, _ORIENTATION = 281, 274
"""Tags."""

_GREY_INVERTED, _GREY, _RGB, _PALETTE, _CMYK = 0, 1, 2, 3, 5
"""TIFF's photometric interpretations."""

_SEPARATE, _UNCOMPRESSED = 2, 1
"""Planar configuration with separate planes; compression: none."""

_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class TiffPicture(NamedTuple):
    """The first picture of a TIFF file.

    Args:
        image: picture with 8 bits per channel.
        orientation: EXIF orientation, 1 to 8.
        missing: share of the picture that is missing.
    """

    image: Image.Image
    orientation: int
    missing: float = 0.0


def read_tiff(file: IO[bytes], most: int) -> TiffPicture | None:
    """Read a TIFF whose values are not bytes, or that is truncated; None for others, which Pillow reads.

    Raises nothing: for files that can't be read here, Pillow reports the error.

    Args:
        file: seekable file.
        most: maximum number of pixels; a larger picture isn't read.
    """
    file.seek(0)
    if not file.read(4).startswith(_HEADS):
        return None
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)  # its messages about unusual files don't help users
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        with tifffile.TiffFile(file) as tiff:
            return _read_page(tiff.pages[0], file, size, most)
    except Exception:  # readers of TIFF raise nearly anything
        return None


def _read_page(page: Any, file: IO[bytes], size: int, most: int) -> TiffPicture | None:
    is_cut = max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True))) > size
    is_bytes = page.dtype in (np.uint8, np.bool_)
    meant = (_GREY_INVERTED, _GREY, _RGB, _CMYK, *((_PALETTE,) if is_bytes else ()))
    if page.dtype is None or (is_bytes and not is_cut) or page.imagedepth != 1 or page.photometric not in meant:
        return None
    if page.imagewidth * page.imagelength > most:
        return None
    values, missing = _rest(page, file) if is_cut else (page.asarray().reshape(page.shaped), 0.0)
    if missing >= 1:
        return TiffPicture(Image.new("RGB", (page.imagewidth, page.imagelength)), 1, 1.0)
    shaped = values[:, 0]  # (planes, height, width, samples), of which planes or samples is 1
    channels = np.moveaxis(shaped[..., 0], 0, -1) if page.planarconfig == _SEPARATE else shaped[0]
    return TiffPicture(_picture(channels, page), int(page.tags.valueof(_ORIENTATION, 1)), missing)


def _rest(page: Any, file: IO[bytes]) -> tuple[NDArray[Any], float]:
    """The values (planes, depth, height, width, samples) of a truncated file, 0 where missing, and the missing share."""
    values = np.zeros(page.shaped, page.dtype)
    there = 0.0
    whole = math.prod(page.chunks) * page.dtype.itemsize
    for index, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        if page.compression == _UNCOMPRESSED:
            count = min(count, whole)  # the count in a damaged file may be wrong
        file.seek(offset)
        data = file.read(count)
        share = len(data) / count if count else 1.0
        if share < 1 and page.compression != _UNCOMPRESSED:
            continue
        segment, (plane, depth, top, left, _), _ = page.decode(data + bytes(count - len(data)), index)
        if segment is None:
            continue
        place = values[plane, depth : depth + 1, top : top + segment.shape[1], left : left + segment.shape[2]]
        place[:] = segment[:, : place.shape[1], : place.shape[2]]
        there += share * place.size
    return values, 1 - there / math.prod(page.shaped)


def _picture(values: NDArray[Any], page: Any) -> Image.Image:
    """The picture of values (height, width, channels), by their photometric interpretation."""
    channels = values.shape[2]
    white = _declared_white(page, values)
    if page.photometric == _CMYK and channels >= 4:
        return Image.fromarray(to_bytes(values[..., :4], white), "CMYK")
    if page.photometric == _PALETTE:
        return Image.fromarray((np.asarray(page.colormap)[:, values[..., 0]] >> 8).astype(np.uint8).transpose(1, 2, 0))
    shown = to_bytes(values[..., :3] if channels >= 3 else values[..., 0], white)
    picture = Image.fromarray(255 - shown if page.photometric == _GREY_INVERTED else shown)
    if channels in (2, 4):
        picture.putalpha(Image.fromarray(to_bytes(values[..., -1])))
    return picture


def _declared_white(page: Any, values: NDArray[Any]) -> int | None:
    """The number for white, if the file declares it."""
    declared = page.tags.valueof(_MAX_VALUE)
    if declared:
        return int(max(declared) if isinstance(declared, tuple) else declared)
    bits = page.bitspersample if isinstance(page.bitspersample, int) else max(page.bitspersample)
    return (1 << bits) - 1 if values.dtype.kind == "u" and bits % 8 else None
