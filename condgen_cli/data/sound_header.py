"""What the beginning of an MP3 or an MP4 tells before any of it is decoded."""

from __future__ import annotations

import struct
from collections.abc import Callable

from condgen_cli.data.pipe import Pipe

__all__ = ["counts_frames", "index_comes_last"]

_BOXES = frozenset((b"ftyp", b"styp", b"free", b"skip", b"wide", b"pnot", b"uuid", b"mdat", b"moov", b"moof"))
"""What the files of MP4 and QuickTime begin with."""


def counts_frames(peek: Callable[[int, int], bytes]) -> bool:
    """Whether an MP3 says how many frames it has.

    Args:
        peek: gives so many bytes (its second argument) of the file from a place (its first).
    """
    head, start = peek(0, 10), 0
    if head.startswith(b"ID3") and len(head) == 10:
        start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    beginning = peek(start, 200)
    return any(mark in beginning for mark in (b"Xing", b"Info", b"VBRI"))


def index_comes_last(pipe: Pipe) -> bool:
    """Whether it is an MP4 or QuickTime file whose sound can't be decoded before its end is there."""
    place = 0
    while len(box := pipe.peek(place, 16)) >= 8:
        size, kind = struct.unpack(">I4s", box[:8])
        if kind not in _BOXES or kind in (b"moov", b"moof"):
            return False
        if kind == b"mdat":
            return True
        if size == 1:
            (size,) = struct.unpack(">Q", box[8:].ljust(8, b"\0"))
        if size < 8:
            return False
        place += size
    return False
