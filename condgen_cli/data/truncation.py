"""How much is missing at the end of a file, by the sizes that its container states."""

from __future__ import annotations

import os
import struct
from typing import IO

__all__ = ["announced_size", "missing_end"]


def missing_end(file: IO[bytes]) -> str:
    """What is missing at the end of a file, such as "12 of 4,402 bytes are missing"; empty if nothing or unknown.

    Supports ISO containers (MP4, MOV, M4A, HEIC, AVIF, JPEG 2000), RIFF (WAV, AVI, WebP), Matroska, PNG, GIF and MPEG transport
    streams.

    Args:
        file: seekable file; it is at its beginning afterwards.
    """
    size = file.seek(0, os.SEEK_END)
    end = announced_size(file)
    if end is None:
        return "its end is missing"
    return f"{end - size:,} of {end:,} bytes are missing" if end > size else ""


def announced_size(file: IO[bytes]) -> int | None:
    """The size in bytes that a file should have, at least its actual size; None if an unknown number of bytes is missing.

    Args:
        file: seekable file; it is at its beginning afterwards.
    """
    size = file.seek(0, os.SEEK_END)
    try:
        end = _end(file, size)
    except struct.error:  # it ends within a header
        end = None
    file.seek(0)
    return end if end is None else max(end, size)


def _end(file: IO[bytes], size: int) -> int | None:
    """The offset where a file of ``size`` bytes should end; None if it is beyond the end but unknown."""
    file.seek(0)
    head = file.read(200)
    if head.startswith(b"RIFF"):
        length = struct.unpack_from("<I", head, 4)[0]
        return length + 8 if length < _UNKNOWN_SIZE else size
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return _matroska_end(head) or size
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _chunks_end(file, size)
    if head[4:8] in (b"ftyp", b"jP  ", b"JXL ", b"moov", b"mdat", b"wide"):
        return _boxes_end(file, size)
    if head.startswith(b"GIF8"):
        file.seek(max(size - 64, 0))  # other data may follow
        return size if b";" in file.read() else None
    if head.startswith(b"G") and head[188:189] == b"G":
        return size if size % 188 == 0 else None
    return size


_UNKNOWN_SIZE = 0x7FFF_0000
"""Sizes from here on are placeholders in files that were written to a pipe, before their size was known."""


def _boxes_end(file: IO[bytes], size: int) -> int:
    """The offset where the last ISO box ends; a box begins with its length and name."""
    place = 0
    while place < size:
        file.seek(place)
        head = file.read(16)
        length, name = struct.unpack_from(">I4s", head)
        if length == 1:
            length = struct.unpack_from(">Q", head, 8)[0]
        if length < 8 or not name.strip().isalnum():  # it extends to the end, or isn't a box
            return size
        place += length
    return place


def _chunks_end(file: IO[bytes], size: int) -> int | None:
    """The offset where the last chunk of a PNG ends."""
    place, name = 8, b""
    while name != b"IEND":
        if place > size:
            return place
        file.seek(place)
        length, name = struct.unpack(">I4s", file.read(8))
        place += length + 12
    return place


def _matroska_end(head: bytes) -> int:
    """The offset where the segment after the header ends; 0 if it is unknown."""
    place = 4
    length, place = _matroska_size(head, place)
    place += length
    if head[place : place + 4] != b"\x18\x53\x80\x67":
        return 0
    width = 9 - head[place + 4].bit_length()
    length, place = _matroska_size(head, place + 4)
    return 0 if length == (1 << 7 * width) - 1 else place + length


def _matroska_size(head: bytes, place: int) -> tuple[int, int]:
    """The number of variable length at an offset, and the offset of its end."""
    if place >= len(head) or not head[place]:
        raise struct.error("no size")
    width = 9 - head[place].bit_length()
    number = int.from_bytes(head[place : place + width], "big") & ((1 << 7 * width) - 1)
    return number, place + width
