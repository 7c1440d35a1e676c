"""TIFF that Pillow doesn't read, or not rightly: numbers of more than 8 bits of any type, and files that are cut short."""

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
"""How numbers are meant: TIFF's photometric interpretations."""

_SEPARATE, _UNCOMPRESSED = 2, 1
"""Planes one after the other; no compression."""

_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class TiffPicture(NamedTuple):
    """The first picture of a file.

    Args:
        image: of 8 bits.
        orientation: as in EXIF, 1 to 8.
        missing: share of it that isn't there.
    """

    image: Image.Image
    orientation: int
    missing: float = 0.0


def read_tiff(file: IO[bytes], most: int) -> TiffPicture | None:
    """A TIFF whose numbers are not bytes, or that is cut short; None for what is Pillow's.

    Nothing is raised: what can't be read here, Pillow refuses with its reason.

    Args:
        file: can be sought in.
        most: pixels; a larger picture isn't read.
    """
    file.seek(0)
    if not file.read(4).startswith(_HEADS):
        return None
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)  # its notes on odd files are not for our users
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
    """What is there of the numbers (planes, depth, height, width, samples), 0 elsewhere; and the share that isn't there."""
    values = np.zeros(page.shaped, page.dtype)
    there = 0.0
    whole = math.prod(page.chunks) * page.dtype.itemsize
    for index, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        if page.compression == _UNCOMPRESSED:
            count = min(count, whole)  # a damaged file may say anything
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
    """Numbers (height, width, channels) as they are meant."""
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
    """The number that stands for white, if the file says so."""
    declared = page.tags.valueof(_MAX_VALUE)
    if declared:
        return int(max(declared) if isinstance(declared, tuple) else declared)
    bits = page.bitspersample if isinstance(page.bitspersample, int) else max(page.bitspersample)
    return (1 << bits) - 1 if values.dtype.kind == "u" and bits % 8 else None
