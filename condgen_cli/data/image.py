"""Photos of any kind as RGB images, and as the squares that a network reads."""

from __future__ import annotations

import math
import warnings
from typing import IO, Any

import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401  # adds JPEG XL to Pillow's formats
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from condgen_cli.data.content import open_content
from condgen_cli.errors import CondgenError, InputError
from condgen_cli.sources import Source

__all__ = ["FORMATS", "MAX_PIXELS", "Photo", "load_image", "open_image", "resize"]

Image.init()
pillow_heif.register_heif_opener()

FORMATS = tuple(set(Image.OPEN) - {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
"""Pillow's names of the formats that are read. Of those left out EPS is a program, which Ghostscript would run; for the others
Pillow has no decoder."""

MAX_PIXELS = 150_000_000
"""A photo with more pixels than this is refused before it is decoded."""

_SIDE = 512
"""Larger photos are reduced by whole factors while both sides stay at least this long."""

_AREA = 16_000_000
"""Pixels that a reduced photo may have, however long and thin it is."""

# Pillow warns of large photos (MAX_PIXELS is the limit that counts here) and of odd metadata, which leave the pixels sound
warnings.filterwarnings("ignore", module=r"PIL\.")


class Photo(Source):
    """A photo's file, with what was wrong with it when it was decoded last."""

    warnings: tuple[str, ...] = ()


def load_image(source: Any, alpha: bool = False) -> Image.Image:
    """A photo as an upright RGB image, transparency laid on white, the first frame of an animation.

    Photos of which both sides are long are reduced while they are read (see ``_SIDE``), so that time and memory stay small.

    Args:
        source: a path, a URL, the bytes of a file, an object whose ``open()`` gives such bytes, or a PIL image.
        alpha: keep transparency: an image that has some is RGBA.
    Raises:
        NotFoundError: if the file doesn't exist.
        NetworkError: if a URL can't be fetched.
        InputError: if it is no image, is broken, or is larger than ``MAX_PIXELS``.
    """
    if isinstance(source, Image.Image):
        _check_size(source, "the image")
        return _upright(source, alpha)
    name, file = open_content(source, "an image")
    with file:
        return _decoded(name, file, alpha)


def _decoded(name: str, file: IO[bytes], alpha: bool) -> Image.Image:
    if not file.read(1):
        raise InputError(f"{name} is empty")
    file.seek(0)
    try:
        with open_image(file) as image:
            _check_size(image, name)
            image.draft(None, (_SIDE, _SIDE))  # a JPEG is decoded at a half, a quarter or an eighth of its size
            return _upright(image, alpha)
    except UnidentifiedImageError:
        raise InputError(f"{name} is not an image of a known format") from None
    except Image.DecompressionBombError:
        raise InputError(f"{name} has more than {MAX_PIXELS // 1_000_000} million pixels") from None
    except CondgenError:
        raise
    except Exception as error:  # Pillow's readers raise nearly anything on a broken header
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{name} is a broken image: {reason}") from error


def open_image(file: IO[bytes]) -> Image.Image:
    """A file as a PIL image whose pixels are not decoded yet; raises what Pillow raises."""
    return Image.open(file, formats=FORMATS)


def resize(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """The whole photo as (3, size, size) bytes, bicubic, its aspect not kept."""
    square = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


def _check_size(image: Image.Image, name: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        limit = MAX_PIXELS // 1_000_000
        raise InputError(f"{name} has {image.width}×{image.height} pixels, more than the limit of {limit} million")


def _upright(image: Image.Image, alpha: bool) -> Image.Image:
    image.load()
    reduced = _reduced(image)
    colored = reduced.convert("RGBA") if alpha and reduced.has_transparency_data else _rgb(reduced)
    turn = _TURNS.get(_orientation(image))
    upright = colored if turn is None else colored.transpose(turn)
    upright.info.clear()  # else it would be turned again if it were loaded again
    return upright


def _reduced(image: Image.Image) -> Image.Image:
    factor = max(min(image.size) // _SIDE, math.ceil(math.sqrt(image.width * image.height / _AREA)))
    # palettes and single bits can't be averaged before they are colours
    return image.reduce(factor) if factor > 1 and image.mode in ("RGB", "RGBA", "L", "CMYK", "YCbCr") else image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Greyscale of 16 or 32 bits or floats, scaled to 8 bits from the range that its values show."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float32))
    peak = float(values.max(initial=0.0))
    limits = (65535.0,) if image.mode.startswith("I;16") else (1.0, 255.0, 65535.0, peak)
    top = next(limit for limit in limits if peak <= limit)
    return Image.fromarray(np.rint(values.clip(0.0, top) * (255.0 / top)).astype(np.uint8))


def _orientation(image: Image.Image) -> int:
    """How the camera was held, 1..8, by its EXIF data."""
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
