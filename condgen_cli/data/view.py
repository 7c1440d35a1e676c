"""Files as C libraries should see them."""

from __future__ import annotations

import io
from typing import IO

__all__ = ["View"]


class View(io.RawIOBase):
    """A file without its name, and with some bytes replaced.

    An impossible seek, which broken headers cause, returns -1 as in C: an exception would be printed and ignored.

    Args:
        file: seekable file; closing the view leaves it open.
        place: offset of the replaced bytes.
        data: the bytes that replace them.
    """

    def __init__(self, file: IO[bytes], place: int = 0, data: bytes = b"") -> None:
        self._file = file
        self._place = place
        self._data = data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, OverflowError, ValueError):
            return -1

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        start = self._file.tell()
        found = bytearray(self._file.read(len(buffer)))
        first, last = max(start, self._place), min(start + len(found), self._place + len(self._data))
        if first < last:
            found[first - start : last - start] = self._data[first - self._place : last - self._place]
        buffer[: len(found)] = found
        return len(found)
