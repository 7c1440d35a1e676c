"""The size of a JPEG XL picture from its header: Pillow's decoder decodes the whole picture before it returns the size."""

from __future__ import annotations

from typing import IO

__all__ = ["jxl_size"]

_BARE = b"\xff\x0a"
_BOXED = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_MOST_BOXES = 64


def jxl_size(file: IO[bytes]) -> tuple[int, int] | None:
    """Width and height in pixels (ISO/IEC 18181-1, SizeHeader); None if it is not JPEG XL, or its header is truncated.

    Args:
        file: seekable file; its position afterwards is undefined.
    """
    file.seek(0)
    head = file.read(len(_BOXED))
    if head.startswith(_BARE):
        file.seek(0)
        return _size(file.read(16))
    return _size(_codestream(file)) if head == _BOXED else None


def _codestream(file: IO[bytes]) -> bytes:
    """The first bytes of the codestream in a container, which is a sequence of boxes."""
    place = 0
    for _ in range(_MOST_BOXES):
        file.seek(place)
        head = file.read(16)
        length, kind, start = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1:  # the length follows, in 64 bits
            length, start = int.from_bytes(head[8:16], "big"), 16
        if kind in (b"jxlc", b"jxlp"):
            file.seek(place + start + 4 * (kind == b"jxlp"))  # a part begins with its number
            return file.read(16)
        if length < start:
            break
        place += length
    return b""


def _size(codestream: bytes) -> tuple[int, int] | None:
    if len(codestream) < 12 or not codestream.startswith(_BARE):
        return None
    bits = _Bits(codestream[2:])
    in_eights = bits.take(1) == 1
    height = _side(bits, in_eights)
    ratio = bits.take(3)
    if ratio == 0:
        return _side(bits, in_eights), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


def _side(bits: _Bits, in_eights: bool) -> int:
    if in_eights:
        return 8 * (bits.take(5) + 1)
    return bits.take((9, 13, 18, 30)[bits.take(2)]) + 1


class _Bits:
    """Reads numbers of a few bits each, least significant bit first."""

    def __init__(self, content: bytes) -> None:
        self.rest = int.from_bytes(content, "little")

    def take(self, count: int) -> int:
        number = self.rest & ((1 << count) - 1)
        self.rest >>= count
        return number
