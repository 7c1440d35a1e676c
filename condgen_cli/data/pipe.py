"""Reading pipes: once, as data arrive, or through a temporary file for formats that need a seekable file."""

from __future__ import annotations

import shutil
import sys
import tempfile
from typing import IO, BinaryIO

from condgen_cli.errors import InputError, reason_of

__all__ = ["MAX_SPOOL", "Pipe"]

MAX_SPOOL = 8 * 2**30
"""Maximum number of bytes of a pipe in a temporary file."""

_MAX_HEAD = 32 * 2**20
"""Maximum number of bytes kept in memory until their format is known."""

_CHUNK = 1 << 20


class Pipe:
    """A stream that is not seekable, but whose beginning is kept for ``peek`` until ``forget`` is called.

    Args:
        name: name of the stream, for messages.
        stream: stream with a method ``read1`` or ``read``.
    """

    TAIL = 1 << 17
    """Maximum length of ``tail``, in bytes."""

    def __init__(self, name: str, stream: BinaryIO) -> None:
        self.name = name
        self.tail = b""
        """The last bytes that were read."""
        self._stream = stream
        self._head = bytearray()
        self._place = 0  # in the head
        self._keeps = True

    @property
    def head(self) -> bytes:
        """The bytes that have been kept."""
        return bytes(self._head)

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes of those available; none at the end, or if the beginning is too long to be kept."""
        size = _CHUNK if size is None or size < 0 else size
        if self._place == len(self._head):
            if not self._keeps:
                return self._read(size)
            if len(self._head) >= _MAX_HEAD:
                return b""
            self._head += self._read(size)
        found = bytes(self._head[self._place : self._place + size])
        self._place += len(found)
        if not self._keeps and self._place == len(self._head):
            self._head.clear()
            self._place = 0
        return found

    def peek(self, start: int, size: int) -> bytes:
        """``size`` bytes from offset ``start``, or fewer at the end or beyond what can be kept; ``read`` restarts at the
        beginning.
        """
        while len(self._head) < min(start + size, _MAX_HEAD) and (more := self._read(_CHUNK)):
            self._head += more
        self._place = 0
        return bytes(self._head[start : start + size])

    def forget(self) -> None:
        """Stop keeping the bytes that are read."""
        del self._head[: self._place]
        self._place = 0
        self._keeps = False

    def close(self) -> None:
        """Close the stream, unless it is standard input."""
        if self._stream is not getattr(sys.stdin, "buffer", None):
            self._stream.close()

    def _read(self, size: int) -> bytes:
        found = bytes(getattr(self._stream, "read1", self._stream.read)(size))
        self.tail = (self.tail + found)[-self.TAIL :]
        return found

    def seekable(self) -> bool:
        return False

    def spool(self) -> IO[bytes]:
        """Copy everything to a temporary file, which is deleted when it is closed.

        Raises:
            InputError: if there are more than ``MAX_SPOOL`` bytes, or more than the disk has room for.
        """
        folder = tempfile.gettempdir()
        file: IO[bytes] = tempfile.TemporaryFile(prefix="condgen-")  # noqa: SIM115  # the caller closes it
        try:
            data, size = self.head, 0
            self._head.clear()
            while data:
                size += len(data)
                if size > MAX_SPOOL:
                    raise InputError(f"{self.name} holds more than {MAX_SPOOL // 2**30} GB", "give it as a file")
                file.write(data)
                data = self._read(_CHUNK)
        except OSError as error:
            file.close()
            free = shutil.disk_usage(folder).free // 2**20
            message = f"cannot keep {self.name} in {folder}, which has {free} MB left: {reason_of(error)}"
            raise InputError(message, "give it as a file") from None
        except InputError:
            file.close()
            raise
        file.seek(0)
        return file
