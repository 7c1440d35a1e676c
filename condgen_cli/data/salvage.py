"""Decoding what is left of truncated and damaged photos."""

from __future__ import annotations

import io
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from condgen_cli.data.truncation import announced_size

__all__ = ["complete", "salvage"]


class _Load(Protocol):
    def __call__(self, file: IO[bytes], prepare: Callable[[Image.Image], None] | None = None) -> Image.Image: ...


class _Lenient(threading.local):
    """Pillow's switch for reading truncated files, for the current thread alone."""

    on = False

    def __bool__(self) -> bool:
        return self.on


_lenient = _Lenient()
ImageFile.LOAD_TRUNCATED_IMAGES = _lenient  # type: ignore[assignment]


@contextmanager
def _allow_truncated() -> Iterator[None]:
    _lenient.on = True
    try:
        yield
    finally:
        _lenient.on = False


def salvage(file: IO[bytes], load: _Load) -> tuple[Image.Image, float] | None:
    """Decode what is left of a broken file.

    Returns:
        the picture, with missing pixels grey or made up by the decoder, and their share, 0 if it is unknown; None if nothing
        can be decoded.

    Args:
        file: seekable file.
        load: function that decodes a file, see ``condgen_cli.data.image``.
    """
    with _allow_truncated():
        try:
            share = _untouched_share(file, load)
            if share < 1 and not _is_jpeg(file):
                return _decode_onto(file, load, _GREY), share
        except Exception:  # Pillow's readers raise nearly anything
            share = 0.0
        for whole in complete(file):
            try:
                image = load(whole)
            except Exception:
                continue
            # a row of blocks may have been decoded but not returned yet
            return image, max(share - _BLOCK / image.height, 0.001) if 0 < share < 1 else 0.0
    for whole in complete(file):
        rest = _by_ffmpeg(whole)
        if rest:
            return rest, 0.0
    return None


_GREY, _WHITE, _BLACK = 0.5, 1.0, 0.0

_MEASURED = 20_000_000
"""Maximum number of pixels of a picture that is decoded twice to find what is missing."""


def _untouched_share(file: IO[bytes], load: _Load) -> float:
    """The share of pixels that decoding doesn't set; for a large picture 0, or 1 if it has a single colour."""
    black = _decode_onto(file, load, _BLACK)
    if black.width * black.height > _MEASURED:
        extremes: Any = black.getextrema()
        return float(all(low == high for low, high in (extremes if isinstance(extremes[0], tuple) else [extremes])))
    first, second = np.asarray(black), np.asarray(_decode_onto(file, load, _WHITE))
    differ: NDArray[np.bool_] = first != second
    return float((differ.any(-1) if differ.ndim == 3 else differ).mean())


def _decode_onto(file: IO[bytes], load: _Load, level: float) -> Image.Image:
    """Decode a photo onto a background of grey ``level``, 0 to 1."""

    def prepare(image: Image.Image) -> None:
        if not getattr(image, "tile", None):
            raise ValueError("its decoder gives a whole picture or none")
        image._ended = True  # type: ignore[attr-defined]  # otherwise the JPEG decoder would make up what is missing
        background: Any = Image.new(image.mode, image.size, _colour(image.mode, level))
        image.im = background.im

    return load(file, prepare)


def _colour(mode: str, level: float) -> Any:
    if mode in ("1", "P", "PA", "F") or mode.startswith("I"):
        # their values are scaled by the largest, or aren't brightnesses, so that the visible background is black
        return int(level)
    bands = Image.getmodebands(mode)
    return round(255 * level) if bands == 1 else (round(255 * level),) * bands


def complete(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Variants of a truncated file with an end: the end marker of a JPEG, or padding to the size that the header states.

    Most decoders accept zeros at the end of compressed data. If only a few bytes are missing, some decoders only accept one of
    several endings.
    """
    end = announced_size(file) or 0
    content = file.read()
    missing = end - len(content)
    if content.startswith(_JPEG):
        yield io.BytesIO(content + b"\xff\xd9")
    elif 0 < missing <= min(_MOST, _TIMES * len(content)):
        if content[8:16] in (b"WEBPVP8 ", b"WEBPVP8L"):
            yield io.BytesIO(_lengthen(content, missing))
        for first in range(0, 256 if missing < _FEW else 1, 16):
            yield io.BytesIO(content + bytes([first]) + bytes(missing - 1))
        for seed in range(_TRIALS if missing < _FEW else 0):
            yield io.BytesIO(content + Random(seed).randbytes(missing))


def _lengthen(content: bytes, missing: int) -> bytes:
    """A WebP file of one chunk, padded with more zeros than are missing, with adjusted sizes: its decoder fails at the end."""
    more = missing + missing % 2 + len(content) % 2 + _SLACK
    whole = bytearray(content + bytes(more))
    struct.pack_into("<I", whole, 4, len(whole) - 8)
    struct.pack_into("<I", whole, 16, len(whole) - 20)
    return bytes(whole)


_SLACK = 1 << 16

_TRIALS, _FEW = 8, 1024
"""Number of random endings that are tried, if fewer bytes than this are missing."""


def _is_jpeg(file: IO[bytes]) -> bool:
    file.seek(0)
    return file.read(2) == _JPEG


_JPEG = b"\xff\xd8"

_BLOCK = 16
"""Number of rows of pixels that a JPEG decoder returns at a time."""

_MOST, _TIMES = 1 << 26, 100
"""Maximum number of bytes that are added, and their maximum ratio to those in the file: a header that states more is damaged
itself."""


def _by_ffmpeg(file: IO[bytes]) -> Image.Image | None:
    """Decode a JPEG 2000, which Pillow only decodes if it is complete."""
    import av

    file.seek(0)
    try:
        with av.open(file, "r", options={"format_whitelist": "j2k_pipe"}) as container:
            return Image.fromarray(next(container.decode(video=0)).to_ndarray(format="rgb24"))
    except (av.error.FFmpegError, OSError, ValueError, StopIteration):
        return None
