"""Opening sources of sound: files, standard input and named pipes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO, Any

from condgen_cli.data.content import open_content
from condgen_cli.data.pipe import Pipe
from condgen_cli.errors import InputError, reason_of
from condgen_cli.files.inputs import protect, refuse_device
from condgen_cli.files.sources import STDIN, Source

__all__ = ["open_sound"]


def open_sound(source: Any) -> tuple[Any, str, IO[bytes] | Pipe]:
    """Open a source: the source, its name for messages, and its file or pipe, which isn't read into memory.

    Args:
        source: source as for ``load_audio``: a path, ``-``, a URL, bytes, or an object whose ``open()`` returns bytes.
    Raises:
        NotFoundError, NetworkError, InputError: if it can't be opened.
    """
    if isinstance(source, str | os.PathLike):
        source = Source(os.fspath(source))
    if isinstance(source, Source):
        if source.location == STDIN:
            return source, source.name, _standard_input(source.name)
        if source.path is not None and os.path.exists(source.path) and not os.path.isfile(source.path):
            return source, source.name, _named_pipe(source.path)
    return source, *open_content(source, "a sound")


def _standard_input(name: str) -> IO[bytes] | Pipe:
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("there is no standard input")
    stream = sys.stdin.buffer
    try:
        descriptor = stream.fileno()
    except OSError:  # a stream in memory
        return Pipe(name, stream)
    refuse_device(descriptor, name)
    if os.path.isfile(descriptor) and not stream.tell():
        protect(f"/dev/fd/{descriptor}")
        return open(descriptor, "rb", closefd=False)
    return Pipe(name, stream)


def _named_pipe(path: str) -> Pipe:
    protect(path)
    try:
        return Pipe(path, Path(path).open("rb"))
    except IsADirectoryError:
        raise InputError(f"{path} is a directory") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {reason_of(error)}") from None
