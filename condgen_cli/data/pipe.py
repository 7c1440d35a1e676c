"""What comes through a pipe, read once as it comes, or kept in a temporary file where a reader has to go back in it."""

from __future__ import annotations

import shutil
import sys
import tempfile
from typing import IO, BinaryIO

from condgen_cli.errors import InputError, reason_of

__all__ = ["MAX_SPOOL", "Pipe"]

MAX_SPOOL = 8 * 2**30
"""Bytes of a pipe that are kept on disk at most."""

_MAX_HEAD = 32 * 2**20
"""Bytes that are kept in memory until it is known what they are."""

_CHUNK = 1 << 20


class Pipe:
    """A stream that can't be gone back in, but for its beginning: ``peek`` shows that until ``forget`` is called.

    Args:
        name: for messages.
        stream: anything with ``read1``, or else ``read``.
    """

    TAIL = 1 << 17
    """Bytes that ``tail`` has at most."""

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
        """What has been kept."""
        return bytes(self._head)

    def read(self, size: int = -1) -> bytes:
        """Bytes that are there by now, at most ``size``; none at the end, or when the beginning gets too long to be kept."""
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
        """So many bytes from a place, fewer at the end or beyond what can be kept; ``read`` goes back to the beginning."""
        while len(self._head) < min(start + size, _MAX_HEAD) and (more := self._read(_CHUNK)):
            self._head += more
        self._place = 0
        return bytes(self._head[start : start + size])

    def forget(self) -> None:
        """Keep no more of what is read."""
        del self._head[: self._place]
        self._place = 0
        self._keeps = False

    def close(self) -> None:
        """Leave the stream, unless it is standard input."""
        if self._stream is not getattr(sys.stdin, "buffer", None):
            self._stream.close()

    def _read(self, size: int) -> bytes:
        found = bytes(getattr(self._stream, "read1", self._stream.read)(size))
        self.tail = (self.tail + found)[-self.TAIL :]
        return found

    def seekable(self) -> bool:
        return False

    def spool(self) -> IO[bytes]:
        """Everything, in a temporary file that goes when it is closed.

        Raises:
            InputError: if there is more than ``MAX_SPOOL`` bytes, or than the disk has room for.
        """
        folder = tempfile.gettempdir()
        file: IO[bytes] = tempfile.TemporaryFile(prefix="condgen-")  # noqa: SIM115  # the caller's
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
