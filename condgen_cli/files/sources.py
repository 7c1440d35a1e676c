"""One input by its name: the bytes of a file, a URL or standard input, and a failure in the place of what can't be had."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from condgen_cli.errors import CondgenError, InputError, NotFoundError, reason_of
from condgen_cli.files.inputs import protect, refuse_device
from condgen_cli.item import Content, Item

__all__ = ["MAX_DOWNLOAD", "STDIN", "Failure", "Source", "is_url", "near_names", "stem"]

STDIN = "-"
"""Standard input, which holds one input's bytes."""

MAX_DOWNLOAD = 256 * 1024 * 1024
"""Bytes that an input may have if it comes from the network or from standard input."""


@dataclass(frozen=True)
class Failure:
    """An input that can't be had or done, in the place where it would have been; with its item if one was read."""

    source: str
    error: CondgenError
    item: Item | None = None


class Source(Content):
    """The bytes of a file, a URL or standard input, read when they are first asked for.

    What can be read only once, or is slow to read again, is kept.

    Args:
        name: a path, an http(s) URL, or ``-``; or another source, of the same bytes.
    """

    def __init__(self, name: str | Source) -> None:
        self._other = name if isinstance(name, Source) else None
        self.location: str = name.location if isinstance(name, Source) else name
        self.name = "standard input" if self.location == STDIN else self.location
        """What messages call it, which a file may be called as well."""

    @property
    def path(self) -> str | None:
        """Where it lies on disk; None for a URL and for standard input."""
        return None if self.location == STDIN or is_url(self.location) else self.location

    def open(self) -> bytes:
        """All bytes.

        Raises:
            NotFoundError: if the file doesn't exist.
            InputError: if it can't be read or is too large.
            NetworkError: if a URL can't be fetched, or is needed while offline.
        """
        if self._on_disk:
            with self.file() as file:
                try:
                    return file.read()
                except OSError as error:
                    raise InputError(f"cannot read {self.name}: {reason_of(error)}") from None
        if isinstance(self._kept, CondgenError):
            raise self._kept
        return self._kept

    def file(self) -> IO[bytes]:
        """A file to read and to seek in: the one on disk, or else all bytes in memory.

        Raises:
            NotFoundError, InputError, NetworkError: as ``open``.
        """
        return _open(self.location) if self._on_disk else io.BytesIO(self.open())

    def ends(self, size: int) -> bytes:
        """What tells a file from others without reading a whole film: its length, and its first and last ``size`` bytes.

        Raises:
            NotFoundError, InputError, NetworkError: as ``open``.
        """
        with self.file() as file:
            first, length = file.read(size), file.seek(0, os.SEEK_END)
            file.seek(max(0, length - size))
            return b"%d:" % length + first + file.read(size)

    @property
    def _on_disk(self) -> bool:
        return self.path is not None and os.path.isfile(self.path)

    @cached_property
    def _kept(self) -> bytes | CondgenError:
        if self._other is not None:
            return self._other._kept
        try:
            if self.location == STDIN:
                return _read_stdin()
            if self.path is None:
                return _download(self.location)
            with _open(self.location) as stream:  # a pipe that has a name
                return _read_stream(stream, self.name)
        except CondgenError as error:
            return error


def is_url(argument: str) -> bool:
    return argument.lower().startswith(("http://", "https://"))


def stem(source: str) -> str:
    """A name for files made from an input: the last part of its path or URL without its suffix."""
    if source == STDIN:
        return "stdin"
    path = urlsplit(source).path if is_url(source) else source
    return Path(path).stem or "input"


def near_names(path: str) -> str | None:
    """A hint with the names beside a path that look like it, if there are any."""
    from condgen_cli.terminal import suggestions

    folder, name = os.path.split(path)
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return None
    near = [os.path.join(folder, found) for found in suggestions.near_names(name, names)]
    return f"did you mean: {', '.join(near)}" if near else None


def _open(path: str) -> IO[bytes]:
    protect(path)
    try:
        return Path(path).open("rb")
    except FileNotFoundError:
        raise NotFoundError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a directory") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise InputError(f"cannot read {path}: {reason_of(error)}") from None


def _read_stdin() -> bytes:
    if sys.stdin is None or getattr(sys.stdin, "closed", False):
        raise InputError("there is no standard input")
    with suppress(io.UnsupportedOperation, AttributeError):  # it is in memory
        refuse_device(sys.stdin.fileno(), "standard input")
    return _read_stream(sys.stdin.buffer, "standard input")


def _read_stream(stream: IO[bytes], name: str) -> bytes:
    """All that comes, which may never end."""
    try:
        data = stream.read(MAX_DOWNLOAD + 1)
    except OSError as error:
        raise InputError(f"cannot read {name}: {reason_of(error)}") from None
    if len(data) > MAX_DOWNLOAD:
        raise InputError(f"{name} holds more than {MAX_DOWNLOAD // 2**20} MB")
    return data


def _download(url: str) -> bytes:
    # imported here because `condgen TASK --help` reaches this file
    from condgen_cli.files.fetch import fetch_bytes

    return fetch_bytes(url, MAX_DOWNLOAD)
