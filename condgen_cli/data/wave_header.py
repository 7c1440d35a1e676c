"""Headers of WAV, AIFF, AU, CAF and AVI files: where the samples are, and whether the header is right.

A recorder that crashes leaves a header with no size or an old one, although the samples are in the file.
"""

from __future__ import annotations

import io
import struct
from typing import IO, NamedTuple

__all__ = ["MPEG_TAGS", "Wave", "is_libsndfile", "wave_header"]

MPEG_TAGS = frozenset((0x50, 0x55))
"""Format codes of MPEG audio in WAV."""

_MAGIC = (
    *(b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b".snd", b"dns.", b"fLaC", b"OggS", b"caff", b"NIST_1A", b"PVF1", b"2BIT"),
    *(b" paf", b"fap ", b"\x64\xa3", b"\xa3\x64", b"MATLAB", b"Creative Voice", b"Extended Instrument:", b"ALawSoundFile"),
)
"""First bytes of the formats that libsndfile reads itself."""

_UNKNOWN = 0x7FFF_0000
"""Sizes from here on are placeholders in files that were written to a pipe, before their size was known."""

_NOTHING = 8
"""Size in bytes of an AIFF sound chunk without samples."""

_RUBBISH = 4096
"""Maximum number of unknown bytes after the samples that are ignored."""

_CHUNKS = 100
"""Maximum number of chunks before the samples."""


class Wave(NamedTuple):
    """What a header says about the samples.

    Args:
        announced: stated size of the samples in bytes; None if the header doesn't say.
        there: number of bytes after the header.
        field, format: offset of the size in the header, and its format for ``struct``.
        whole: value of the size that means "to the end".
        stale: whether the size is 0 or older than the end of the file.
        tag: format code of WAV; 0 for other formats.
    """

    announced: int | None
    there: int
    field: int
    format: str
    whole: int
    stale: bool
    tag: int = 0


def is_libsndfile(head: bytes) -> bool:
    """Whether a file with this beginning may be one that libsndfile reads itself."""
    return head.startswith(_MAGIC)


def wave_header(file: IO[bytes]) -> Wave | None:
    """The header of a WAV, AIFF, AU, CAF or AVI file; None for other files, or if it is incomplete.

    Args:
        file: seekable file; its position afterwards is undefined.
    """
    file.seek(0, io.SEEK_END)
    size = file.tell()
    head = _at(file, 0, 12)
    if head[:4] in (b"RIFF", b"RIFX") and head[8:] == b"WAVE":
        return _read_chunks(file, size, 12, "<I" if head[:4] == b"RIFF" else ">I", b"data", 0xFFFF_FFFF)
    if head[:4] == b"RIFF" and head[8:] == b"AVI ":
        return Wave(struct.unpack("<I", head[4:8])[0], size - 8, 4, "<I", 0xFFFF_FFFF, False)
    if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        return _read_chunks(file, size, 12, ">I", b"SSND", 0x7FFF_FFFF)
    if head[:4] == b"caff":
        return _read_chunks(file, size, 8, ">q", b"data", -1)
    if head[:4] == b".snd":
        start, announced = struct.unpack(">II", head[4:12])
        return _make_wave(file, size, start, announced, 8, ">I", 0xFFFF_FFFF, 0)
    return None


def _read_chunks(file: IO[bytes], size: int, start: int, format: str, wanted: bytes, whole: int) -> Wave | None:
    """The header of a file of chunks: four letters, a size, and as many bytes, padded to an even number except in CAF."""
    tag, width = 0, struct.calcsize(format)
    for _ in range(_CHUNKS):
        chunk = _at(file, start, 4 + width)
        if len(chunk) < 4 + width:
            return None
        (length,) = struct.unpack(format, chunk[4:])
        body = start + 4 + width
        if chunk[:4] == wanted:
            return _make_wave(file, size, body, length, start + 4, format, whole, tag)
        if chunk[:4] == b"fmt ":
            (tag,) = struct.unpack(format.replace("I", "H"), _at(file, body, 2).ljust(2, b"\0"))
        if length < 0:
            return None
        start = body + length + (length % 2 if width == 4 else 0)
    return None


def _make_wave(file: IO[bytes], size: int, body: int, length: int, field: int, format: str, whole: int, tag: int) -> Wave:
    there = max(size - body, 0)
    if length < 0 or (whole > 0 and length >= _UNKNOWN):
        return Wave(None, there, field, format, whole, False, tag)
    follows = _at(file, body + length + length % 2, 4) if length < there else b""
    chunk = len(follows) == 4 and (all(32 <= byte < 127 for byte in follows) or follows[:3] in (b"ID3", b"TAG"))
    if length <= _NOTHING:
        stale = bool(follows) and not chunk
    else:
        # zeros may pad a block, and a few unknown bytes at the end aren't sound
        stale = bool(follows.strip(b"\0")) and not chunk and there - length > max(_RUBBISH, length // 100)
    return Wave(length, there, field, format, whole, stale, tag)


def _at(file: IO[bytes], start: int, size: int) -> bytes:
    try:
        file.seek(start)
    except (OSError, OverflowError, ValueError):  # the size of a chunk is wrong
        return b""
    return file.read(size)
