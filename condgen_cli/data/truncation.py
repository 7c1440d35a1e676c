"""How much of a file is missing at its end, by what its container announces."""

from __future__ import annotations

import os
import struct
from typing import IO

__all__ = ["missing_bytes"]


def missing_bytes(file: IO[bytes]) -> int:
    """How many bytes a file lacks at its end by what its container announces; 0 if none, or if that can't be told.

    The containers are ISO's (MP4, MOV, M4A, HEIC, AVIF, JPEG 2000), RIFF (WAV, AVI, WebP), Matroska, PNG and GIF.

    Args:
        file: can be sought in; it stands at its beginning afterwards.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(64)
    try:
        if head.startswith(b"RIFF"):
            announced = struct.unpack_from("<I", head, 4)[0]
            end = announced + 8 if announced < _UNKNOWN_SIZE else 0
        elif head.startswith(b"\x1a\x45\xdf\xa3"):
            end = _matroska_end(head)
        elif head.startswith(b"\x89PNG\r\n\x1a\n"):
            end = _boxes_end(file, size, 8, ">I4s", 12)
        elif head[4:8] in (b"ftyp", b"jP  ", b"JXL ", b"moov", b"mdat", b"wide"):
            end = _boxes_end(file, size, 0, ">I4s", 0)
        elif head.startswith(b"GIF8"):
            file.seek(max(size - 64, 0))
            end = size if b";" in file.read()[-64:] else size + 1
        else:
            end = 0
    except struct.error:  # it ends within a head
        end = size + 1
    file.seek(0)
    return max(end - size, 0)


_UNKNOWN_SIZE = 0x7FFF_0000
"""Sizes from here on stand in heads of files that were written to a pipe, before their size was known."""


def _boxes_end(file: IO[bytes], size: int, start: int, form: str, more: int) -> int:
    """Where the last of the boxes ends that follow one another, each of a length, a name and ``more`` bytes than that."""
    place, name = start, b""
    while place < size and name != b"IEND":
        file.seek(place)
        head = file.read(16)
        length, name = struct.unpack_from(form, head)
        if length == 1 and not more:
            length = struct.unpack_from(">Q", head, 8)[0]
        if not length and not more:  # it goes on to the end
            return size
        if not name.isalnum() and not more:  # no box: something that was added to the file
            return size
        place += max(length + more, 8)
    return place if name == b"IEND" or not more else max(place, size + 1)


def _matroska_end(head: bytes) -> int:
    """Where the segment ends that follows the head; 0 if it doesn't say."""
    place = 4
    length, place = _matroska_size(head, place)
    place += length
    if head[place : place + 4] != b"\x18\x53\x80\x67":
        return 0
    width = 9 - head[place + 4].bit_length()
    length, place = _matroska_size(head, place + 4)
    return 0 if length == (1 << 7 * width) - 1 else place + length


def _matroska_size(head: bytes, place: int) -> tuple[int, int]:
    """A number of variable length at a place, and where it ends."""
    if place >= len(head) or not head[place]:
        raise struct.error("no size")
    width = 9 - head[place].bit_length()
    number = int.from_bytes(head[place : place + width], "big") & ((1 << 7 * width) - 1)
    return number, place + width
