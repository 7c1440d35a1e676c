"""Loading photos as RGB images, and resizing them to squares for a network."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import IO, Any

import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401  # adds JPEG XL to Pillow's formats
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from condgen_cli.data.content import open_content
from condgen_cli.data.deep import deep_colours
from condgen_cli.data.depth import DARK, to_bytes
from condgen_cli.data.jxl import jxl_size
from condgen_cli.data.salvage import salvage
from condgen_cli.data.tiff import read_tiff
from condgen_cli.data.truncation import missing_end
from condgen_cli.errors import CondgenError, InputError
from condgen_cli.files.sources import Source

__all__ = ["FORMATS", "MAX_PIXELS", "Photo", "load_image", "open_image", "resize"]

Image.init()
pillow_heif.register_heif_opener()

FORMATS = tuple(set(Image.OPEN) - {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
"""Pillow's names of the supported formats. EPS is left out because Ghostscript would run it as a program, the others because
Pillow has no decoder for them."""

MAX_PIXELS = 150_000_000
"""Maximum number of pixels of a photo; a larger one is refused before it is decoded."""

MAX_EMPTY_PIXELS = 50_000_000
"""The same for a photo that is compressed more than any camera's: decoding it may take a gigabyte of memory or more."""

_TIGHTEST = 150
"""Maximum number of pixels per byte of a file above ``MAX_EMPTY_PIXELS``; photos have at most ten."""

_SIDE = 512
"""Minimum side in pixels to which larger photos are reduced, by whole factors."""

_AREA = 16_000_000
"""Maximum number of pixels of a reduced photo, for long and thin ones."""

_CUT_BITS = "condgen: cut bits"
"""Key in a PIL image's ``info``: whether the file has more bits than Pillow keeps."""

_PNG_HEAD = 4096
"""Number of bytes at the beginning of a PNG that contain its declarations of colours."""

# Pillow warns of large photos (MAX_PIXELS is the limit here) and of invalid metadata, which don't affect the pixels
warnings.filterwarnings("ignore", module=r"PIL\.")


class Photo(Source):
    """A photo's file, whose ``warnings`` are set when it is decoded."""


def load_image(source: Any, alpha: bool = False) -> Image.Image:
    """Load a photo as an upright RGB image, with transparency on white; of an animation, the first frame.

    Large photos are reduced while they are read (see ``_SIDE``), which saves time and memory.

    Args:
        source: path, URL or bytes of a file, a ``condgen_cli.item.Content``, or a PIL image.
        alpha: whether to keep transparency, as an RGBA image.
    Raises:
        NotFoundError: if the file doesn't exist.
        NetworkError: if a URL can't be fetched.
        InputError: if it is not an image, is broken, or has more than ``MAX_PIXELS`` pixels.
    """
    if isinstance(source, Image.Image):
        _check_size(source, "the image")
        source.load()
        return _make_upright(source, alpha)
    name, file = open_content(source, "an image")
    with file:
        image, faults = _decode(name, file, alpha)
    if isinstance(source, Photo):
        source.warnings = faults
    return image


def _decode(name: str, file: IO[bytes], alpha: bool) -> tuple[Image.Image, tuple[str, ...]]:
    """The photo, and warnings about it."""
    if not file.read(1):
        raise InputError(f"{name} is empty")
    missing = missing_end(file)
    tiff = read_tiff(file, _most_pixels(file))
    if tiff is not None:
        if tiff.missing >= 1:
            raise InputError(f"{name} is a broken image: nothing of its picture is there")
        faults = (_damage(tiff.missing, "its end"),) if tiff.missing else ()
        return _turn(_reduce_rgb(tiff.image, alpha), tiff.orientation), faults
    try:
        return _make_upright(_load(name, file), alpha, file), _cut_warning(missing)
    except CondgenError:
        raise
    except UnidentifiedImageError as error:
        fault = InputError(f"{name} is not an image of a known format")
        reason: Exception = error
    except Image.DecompressionBombError:
        raise InputError(f"{name} has more than {MAX_PIXELS // 1_000_000} million pixels") from None
    except Exception as error:  # Pillow's readers raise nearly anything on a broken header
        fault = InputError(f"{name} is a broken image: {_reason(error)}")
        reason = error
    rest = salvage(file, partial(_load, name))
    if rest is None:
        raise fault from reason
    image, share = rest
    # messages of Pillow and libjpeg for truncated files
    cut = missing or ("its end is missing" if re.search("truncat|premature", str(reason), re.IGNORECASE) else "")
    return _make_upright(image, alpha), (_damage(share, cut),)


def _load(name: str, file: IO[bytes], prepare: Callable[[Image.Image], None] | None = None) -> Image.Image:
    """Decode a file by Pillow; ``prepare`` is called before. Errors are those of Pillow."""
    if size := jxl_size(file):
        _check_pixels(*size, name, _most_pixels(file))
    file.seek(0)
    image = open_image(file)
    _check_size(image, name, _most_pixels(file))
    image.draft(None, (_SIDE, _SIDE))  # decodes a JPEG at 1/2, 1/4 or 1/8 of its size
    # colours of more than 8 bits, of which Pillow keeps the first 8
    codings = [str(tile[3]) for tile in getattr(image, "tile", ())]
    image.info[_CUT_BITS] = image.mode in ("RGB", "RGBA", "LA") and any(";16" in coding for coding in codings)
    if prepare:
        prepare(image)
    image.load()
    return image


def _reason(error: Exception) -> str:
    # messages of other types of errors are for programmers
    text = str(error).partition("\n")[0] if isinstance(error, OSError | SyntaxError | ValueError) else ""
    return text or "it can't be decoded"


def _cut_warning(missing: str) -> tuple[str, ...]:
    return (f"cut short: {missing}",) if missing else ()


def _damage(share: float, missing: str) -> str:
    how = "cut short" if missing else "damaged"
    if not share:
        return f"{how}: {missing or 'a part of it is missing'}"
    return f"{how}: {'less than 1' if share < 0.01 else round(100 * share)} % of the picture is missing"


def open_image(file: IO[bytes]) -> Image.Image:
    """Open a file as a PIL image without decoding its pixels. Errors are those of Pillow."""
    return Image.open(file, formats=FORMATS)


def resize(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """A photo as (3, size, size) bytes, resized by bicubic interpolation without keeping its aspect ratio."""
    square = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


def _check_size(image: Image.Image, name: str, most: int = MAX_PIXELS) -> None:
    _check_pixels(image.width, image.height, name, most)


def _check_pixels(width: int, height: int, name: str, most: int) -> None:
    pixels = width * height
    if pixels > MAX_PIXELS:
        limit = MAX_PIXELS // 1_000_000
        raise InputError(f"{name} has {width}×{height} pixels, more than the limit of {limit} million")
    if pixels > most:
        raise InputError(f"{name} has {width}×{height} pixels in so few bytes that it can't be a photo", "make it smaller")


def _most_pixels(file: IO[bytes]) -> int:
    """Maximum number of pixels for a file of its size."""
    place = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(place)
    return min(MAX_PIXELS, max(MAX_EMPTY_PIXELS, size * _TIGHTEST))


def _make_upright(image: Image.Image, alpha: bool, file: IO[bytes] | None = None) -> Image.Image:
    """A decoded photo upright, in RGB and reduced; ``file`` is read again if it has more bits than Pillow keeps."""
    orientation = _orientation(image)
    if file is not None and image.info.get(_CUT_BITS) and max(high for _, high in _extrema(image)) < DARK:
        image = deep_colours(file, image.mode != "RGB") or image
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(to_bytes(np.asarray(image), _declared_white(file) if file else None))
    return _turn(_reduce_rgb(image, alpha), orientation)


def _extrema(image: Image.Image) -> Sequence[tuple[int, int]]:
    """Minimum and maximum of each colour channel."""
    colours = image.convert("RGB") if image.mode == "RGBA" else image.getchannel("L") if image.mode == "LA" else image
    found: Any = colours.getextrema()
    return [found] if isinstance(found[0], int) else found


def _turn(image: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    upright = image if turn is None else image.transpose(turn)
    upright.info.clear()  # otherwise loading it again would turn it again
    return upright


def _reduce_rgb(image: Image.Image, alpha: bool) -> Image.Image:
    factor = max(min(image.size) // _SIDE, math.ceil(math.sqrt(image.width * image.height / _AREA)))
    # palette indices and single bits can't be averaged
    averaged = factor > 1 and image.mode in ("RGB", "RGBA", "L", "CMYK", "YCbCr")
    reduced = image.reduce(factor) if averaged else image
    return reduced.convert("RGBA") if alpha and reduced.has_transparency_data else _rgb(reduced)


def _rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _declared_white(file: IO[bytes]) -> int | None:
    """White of a grey PNG by its declared number of significant bits; None if it declares none."""
    file.seek(0)
    head = file.read(_PNG_HEAD)
    place = head.find(b"sBIT")
    if not head.startswith(b"\x89PNG") or place < 0 or place + 4 >= len(head):
        return None
    bits = head[place + 4]
    return (1 << bits) - 1 if 1 <= bits <= 16 else None


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8."""
    if image.format == "JXL":  # the decoder has turned it already
        return 1
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # a broken EXIF block says nothing about the pixels
        return 1


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
