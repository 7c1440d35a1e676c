"""Arguments of a command line as inputs: files, globs, directories, URLs and standard input, expanded lazily and in order."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from urllib.parse import urlsplit

from condgen_cli.errors import CondgenError, InputError, NotFoundError
from condgen_cli.files.inputs import identity, protect, protect_where
from condgen_cli.item import Item

__all__ = ["MAX_DOWNLOAD", "STDIN", "Failure", "Inputs", "Source", "expand", "is_url", "natural", "near_names", "stem"]

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


class Source:
    """The bytes of a file, a URL or standard input, read when they are first asked for.

    What can be read only once, or is slow to read again, is kept.

    Args:
        name: a path, an http(s) URL, or ``-``.
    """

    def __init__(self, name: str) -> None:
        self.name = "standard input" if name == STDIN else name
        self._location = name

    def open(self) -> bytes:
        """All bytes.

        Raises:
            NotFoundError: if the file doesn't exist.
            InputError: if it can't be read or is too large.
            NetworkError: if a URL can't be fetched, or is needed while offline.
        """
        if self._location != STDIN and not is_url(self._location):
            return _read_file(self._location)
        if isinstance(self._kept, CondgenError):
            raise self._kept
        return self._kept

    @cached_property
    def _kept(self) -> bytes | CondgenError:
        try:
            return _read_stdin() if self._location == STDIN else _download(self._location)
        except CondgenError as error:
            return error


class Inputs(Iterator[str | Failure]):
    """Paths, URLs and ``-`` in order, and failures in the places of what isn't there.

    Args:
        entries: found as they are asked for.
        files: those that are known at once to be files, since the command line names them.
    """

    def __init__(self, entries: Iterator[str | Failure], files: Sequence[str]) -> None:
        self.files = files
        self._entries = entries

    def __next__(self) -> str | Failure:
        return next(self._entries)


def expand(arguments: Iterable[str], suffixes: Collection[str]) -> Inputs:
    """The inputs that arguments stand for, which the running command then doesn't write over.

    A directory stands for the files below it that have one of ``suffixes`` (lower case, with the dot), hidden ones left out, in
    natural order (``2.jpg`` before ``10.jpg``), links to directories not followed. A pattern stands for what it matches; files
    that are named or matched are taken whatever their suffix. ``-`` and URLs stand for themselves. What is not there becomes a
    ``Failure``.
    """
    named = list(arguments) if isinstance(arguments, Sequence) else []
    protect_where(_inclusion(named, suffixes))
    return Inputs(_expanded(arguments, suffixes), [argument for argument in named if os.path.isfile(argument)])


def _expanded(arguments: Iterable[str], suffixes: Collection[str]) -> Iterator[str | Failure]:
    for argument in arguments:
        if argument == STDIN or is_url(argument):
            yield argument
        elif os.path.lexists(argument):
            yield from _existing(argument, suffixes)
        elif glob.has_magic(argument):
            yield from _matching(argument, suffixes)
        else:
            yield Failure(argument, NotFoundError(f"{argument} does not exist", near_names(argument)))


def _inclusion(arguments: Sequence[str], suffixes: Collection[str]) -> Callable[[str], bool]:
    """Whether a path that exists is one of the inputs that arguments stand for; what is costly is found when first asked."""

    @cache
    def named() -> set[tuple[int, int] | None]:
        matched = (path for argument in arguments for path in (argument, *_matches(argument)))
        return {identity(path) for path in matched if not os.path.isdir(path)}

    @cache
    def folders() -> list[str]:
        matched = (path for argument in arguments for path in (argument, *_matches(argument)))
        return [os.path.realpath(path) for path in matched if os.path.isdir(path)]

    def includes(path: str) -> bool:
        if identity(path) in named():
            return True
        place = os.path.realpath(path)
        is_wanted = Path(path).suffix.lower() in suffixes
        return is_wanted and any(os.path.commonpath([place, folder]) == folder for folder in folders())

    return includes


def _matches(argument: str) -> list[str]:
    return [] if os.path.lexists(argument) or not glob.has_magic(argument) else glob.glob(argument, recursive=True)


def is_url(argument: str) -> bool:
    return argument.lower().startswith(("http://", "https://"))


def stem(source: str) -> str:
    """A name for files made from an input: the last part of its path or URL without its suffix."""
    if source == STDIN:
        return "stdin"
    path = urlsplit(source).path if is_url(source) else source
    return Path(path).stem or "input"


def _existing(argument: str, suffixes: Collection[str]) -> Iterator[str | Failure]:
    if not os.path.isdir(argument):
        yield argument
        return
    empty = True
    for path in _walk(argument, suffixes):
        empty = False
        yield path
    if empty:
        wanted = f" with a suffix of {' '.join(sorted(suffixes))}" if suffixes else ""
        yield Failure(argument, NotFoundError(f"{argument} holds no files{wanted}"))


def _walk(directory: str, suffixes: Collection[str]) -> Iterator[str | Failure]:
    try:
        with os.scandir(directory) as entries:
            found = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        yield Failure(directory, InputError(f"cannot read {directory}: {error.strerror or error}"))
        return
    for path, is_directory in sorted(found, key=lambda item: natural(item[0])):
        if is_directory:
            yield from _walk(path, suffixes)
        elif Path(path).suffix.lower() in suffixes and os.path.isfile(path):
            yield path


def _matching(pattern: str, suffixes: Collection[str]) -> Iterator[str | Failure]:
    matches = sorted(glob.glob(pattern, recursive=True), key=natural)
    if "**" in pattern:  # which matches what lies in directories as well
        matches = [path for path in matches if not os.path.isdir(path)]
    if not matches:
        yield Failure(pattern, NotFoundError(f"nothing matches {pattern}"))
    for path in matches:
        yield from _existing(path, suffixes)


def natural(path: str) -> list[tuple[int, int, str]]:
    """A key that sorts runs of digits by their value, and 1 before 01."""
    parts = re.split(r"(\d+)", path)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]


def near_names(path: str) -> str | None:
    """A hint with the names beside a path that look like it, if there are any."""
    from condgen_cli import specs

    folder, name = os.path.split(path)
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return None
    near = [os.path.join(folder, found) for found in specs.near_names(name, names)]
    return f"did you mean: {', '.join(near)}" if near else None


def _read_file(path: str) -> bytes:
    protect(path)
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a directory") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def _read_stdin() -> bytes:
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("there is no standard input")
    data = sys.stdin.buffer.read(MAX_DOWNLOAD + 1)
    if len(data) > MAX_DOWNLOAD:
        raise InputError(f"standard input holds more than {MAX_DOWNLOAD // 2**20} MB")
    return data


def _download(url: str) -> bytes:
    # imported here because `condgen TASK --help` reaches this file
    from condgen_cli.zoo.fetch import fetch_bytes

    return fetch_bytes(url, MAX_DOWNLOAD)
