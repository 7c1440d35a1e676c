"""Reading the beginning of an MP3 or an MP4 before decoding it."""

from __future__ import annotations

import struct
from collections.abc import Callable

from condgen_cli.data.pipe import Pipe

__all__ = ["counts_frames", "index_comes_last"]

_BOXES = frozenset((b"ftyp", b"styp", b"free", b"skip", b"wide", b"pnot", b"uuid", b"mdat", b"moov", b"moof"))
"""Types of boxes at the beginning of MP4 and QuickTime files."""


def counts_frames(peek: Callable[[int, int], bytes]) -> bool:
    """Whether the header of an MP3 has the number of frames.

    Args:
        peek: function from an offset and a size in bytes to these bytes of the file.
    """
    head, start = peek(0, 10), 0
    if head.startswith(b"ID3") and len(head) == 10:
        start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    beginning = peek(start, 200)
    return any(mark in beginning for mark in (b"Xing", b"Info", b"VBRI"))


def index_comes_last(pipe: Pipe) -> bool:
    """Whether it is an MP4 or QuickTime file with its index at the end, so that it can't be decoded as it arrives."""
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
