"""Arguments of a command line as inputs: files, globs, directories, URLs and standard input, expanded lazily and in order."""

from __future__ import annotations

import glob
import io
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from condgen_cli import console
from condgen_cli.errors import CondgenError, InputError, NotFoundError
from condgen_cli.files.inputs import identity, protect, protect_where, refuse_device
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
                    raise InputError(f"cannot read {self.name}: {error.strerror or error}") from None
        if isinstance(self._kept, CondgenError):
            raise self._kept
        return self._kept

    def file(self) -> IO[bytes]:
        """A file to read and to seek in: the one on disk, or else all bytes in memory.

        Raises:
            NotFoundError, InputError, NetworkError: as ``open``.
        """
        return _opened(self.location) if self._on_disk else io.BytesIO(self.open())

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
            with _opened(self.location) as stream:  # a pipe that has a name
                return _read_stream(stream, self.name)
        except CondgenError as error:
            return error


class Inputs(Iterator[str | Failure]):
    """Paths, URLs and ``-`` in order, and failures in the places of what isn't there.

    Args:
        entries: found as they are asked for.
        files: those that are known at once to be files, since the command line names them.
        left_out: what of directories was not taken, a line for each; grows as entries are found.
        count: how many there are; None if that isn't known at once.
        live: whether some come through a pipe, as somebody writes them.
    """

    def __init__(
        self,
        entries: Iterator[str | Failure],
        files: Sequence[str],
        left_out: Sequence[str] = (),
        count: int | None = None,
        live: bool = False,
    ) -> None:
        self.files = files
        self.left_out = left_out
        self.count = count
        self.live = live
        self._entries = entries

    def __next__(self) -> str | Failure:
        return next(self._entries)

    def tell_left_out(self) -> None:
        """Warn of what was not taken; to be called when the entries are used up."""
        for line in self.left_out:
            console.warn(line)


def expand(arguments: Iterable[str], suffixes: Collection[str] = (), kinds: Collection[str] = ()) -> Inputs:
    """The inputs that arguments stand for, which the running command then doesn't write over.

    A directory stands for those files below it that have one of ``suffixes``, or a suffix that is usual for one of ``kinds``,
    or whose content is of one of ``kinds`` under any name but a text's. They come in natural order (``2.jpg`` before
    ``10.jpg``), hidden ones left out, links to directories not followed; how many others there are is told in ``left_out``. A
    pattern stands for what it matches. Files that are named or matched are taken whatever they are. ``-`` and URLs stand for
    themselves. What is not there becomes a ``Failure``.

    Args:
        suffixes: lower case, with the dot.
        kinds: values of ``condgen_cli.data.content.Kind``.
    """
    named = list(arguments) if isinstance(arguments, Sequence) else []
    wanted = _Wanted(tuple(suffixes), tuple(kinds))
    protect_where(_inclusion(named, wanted))
    left_out: list[str] = []
    files = [argument for argument in named if os.path.isfile(argument)]
    pipes = [argument for argument in named if argument == STDIN or _is_pipe(argument)]
    known = len(files) + len(pipes) + sum(map(is_url, named))
    count = known if known == len(named) else None
    return Inputs(_expanded(arguments, wanted, left_out), files, left_out, count, bool(pipes))


def _is_pipe(argument: str) -> bool:
    return not is_url(argument) and Path(argument).is_fifo()


@dataclass(frozen=True)
class _Wanted:
    """What a command takes of a directory."""

    suffixes: tuple[str, ...]
    kinds: tuple[str, ...]

    def __call__(self, path: str) -> bool:
        """Whether it takes a file. A file of a usual suffix is taken unread, so that the user is told of one that is broken."""
        suffix = Path(path).suffix.lower()
        if suffix in self.suffixes or (suffix in self._usual and suffix not in _AMBIGUOUS):
            return True
        if not self.kinds:
            return False
        from condgen_cli.data.content import Kind, kind_of, suffixes_of

        if suffix in suffixes_of([Kind.text]):  # so as not to look into each of a folder's sources and notes
            return False
        try:
            return kind_of(path) in self.kinds
        except CondgenError:
            return False

    @property
    def _usual(self) -> Collection[str]:
        # imported here because `condgen TASK --help` reaches this file, and the libraries that know the suffixes are large
        from condgen_cli.data.content import suffixes_of

        return suffixes_of(self.kinds) if self.kinds else ()

    def __str__(self) -> str:
        if not self.kinds:
            return f"files with a suffix of {' '.join(sorted(self.suffixes))}"
        from condgen_cli.data.content import Kind

        return " or ".join(Kind(kind).plural for kind in self.kinds)


_AMBIGUOUS = (".ts", ".mts")
"""Usual for video, and for programs in TypeScript as well."""


def _expanded(arguments: Iterable[str], wanted: _Wanted, told: list[str]) -> Iterator[str | Failure]:
    for argument in arguments:
        if argument == STDIN or is_url(argument):
            yield argument
        elif os.path.lexists(argument):
            yield from _existing(argument, wanted, told)
        elif glob.has_magic(argument):
            yield from _matching(argument, wanted, told)
        else:
            yield Failure(argument, NotFoundError(f"{argument} does not exist", near_names(argument)))


def _inclusion(arguments: Sequence[str], wanted: _Wanted) -> Callable[[str], bool]:
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
        return any(os.path.commonpath([place, folder]) == folder for folder in folders()) and wanted(path)

    return includes


def _matches(argument: str) -> list[str]:
    return [] if os.path.lexists(argument) or not glob.has_magic(argument) else list(_matching_paths(argument))


def is_url(argument: str) -> bool:
    return argument.lower().startswith(("http://", "https://"))


def stem(source: str) -> str:
    """A name for files made from an input: the last part of its path or URL without its suffix."""
    if source == STDIN:
        return "stdin"
    path = urlsplit(source).path if is_url(source) else source
    return Path(path).stem or "input"


def _existing(argument: str, wanted: _Wanted, told: list[str]) -> Iterator[str | Failure]:
    if not os.path.isdir(argument):
        yield argument
        return
    empty, left_out = True, _LeftOut()
    for path in _walk(argument, wanted, left_out):
        empty = False
        yield path
    if empty:
        only = f", only {left_out}{left_out.named}" if left_out else ""
        yield Failure(argument, NotFoundError(f"{argument} holds no {wanted}{only}"))
    elif left_out:
        told.append(f"{argument}: {left_out} {'was' if len(left_out) == 1 else 'were'} left out{left_out.named}")


@dataclass
class _LeftOut:
    """What of a directory is not taken."""

    suffixes: Counter[str] = field(default_factory=Counter)
    links: int = 0

    def __len__(self) -> int:
        return self.suffixes.total() + self.links

    def __str__(self) -> str:
        files, links = self.suffixes.total(), self.links
        parts = [f"{files} file{'s' * (files > 1)} of other kinds"] if files else []
        parts += [f"{links} link{'s' * (links > 1)} to directories"] if links else []
        return " and ".join(parts)

    @property
    def named(self) -> str:
        """The suffixes of most of the files, in brackets after a blank; empty if they have none."""
        names = [suffix for suffix, _ in self.suffixes.most_common() if suffix]
        more = len(names) - _SUFFIXES_NAMED
        told = ", ".join(names[:_SUFFIXES_NAMED]) + (f" and {more} more" if more > 0 else "")
        return f" ({told})" if told else ""


_SUFFIXES_NAMED = 5


def _walk(directory: str, wanted: _Wanted, left_out: _LeftOut) -> Iterator[str | Failure]:
    try:
        with os.scandir(directory) as entries:
            found = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        yield Failure(directory, InputError(f"cannot read {directory}: {error.strerror or error}"))
        return
    for path, is_directory in sorted(found, key=lambda item: natural(item[0])):
        if is_directory:
            yield from _walk(path, wanted, left_out)
        elif os.path.isfile(path) and wanted(path):
            yield path
        elif os.path.isdir(path):
            left_out.links += 1
        else:
            left_out.suffixes[Path(path).suffix.lower()] += 1


def _matching(pattern: str, wanted: _Wanted, told: list[str]) -> Iterator[str | Failure]:
    matches = sorted(_matching_paths(pattern), key=natural)
    if not matches:
        yield Failure(pattern, NotFoundError(f"nothing matches {pattern}"))
    for path in matches:
        yield from _existing(path, wanted, told)


def _matching_paths(pattern: str) -> Iterator[str]:
    """Paths that a pattern matches, each once; ``**`` is any number of directories, links not followed."""
    parts = pattern.replace(os.altsep or os.sep, os.sep).split(os.sep)
    if "**" not in parts:
        yield from glob.glob(pattern)
        return
    place = parts.index("**")
    start, rest = os.sep.join(parts[:place]), os.sep.join(parts[place + 1 :])
    roots = [f"{root}{os.sep}" for root in glob.glob(start)] if start else [os.sep if place else ""]
    found = (path for root in roots for directory in _directories(root) for path in _below(directory, rest))
    # what lies in a directory is matched as well, so the directory itself would be taken twice
    yield from dict.fromkeys(path for path in found if not os.path.isdir(path))


def _below(directory: str, rest: str) -> Iterator[str]:
    return _matching_paths(f"{glob.escape(directory)}{rest or '*'}")


def _directories(root: str) -> Iterator[str]:
    """A directory and all below it, each with a separator at its end; hidden ones and links left out."""
    yield root
    try:
        with os.scandir(root or os.curdir) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")]
    except OSError:  # as the pattern's other places have it: what can't be read doesn't match
        return
    for name in names:
        yield from _directories(f"{root}{name}{os.sep}")


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


def _opened(path: str) -> IO[bytes]:
    protect(path)
    try:
        return Path(path).open("rb")
    except FileNotFoundError:
        raise NotFoundError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a directory") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


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
        raise InputError(f"cannot read {name}: {error.strerror or error}") from None
    if len(data) > MAX_DOWNLOAD:
        raise InputError(f"{name} holds more than {MAX_DOWNLOAD // 2**20} MB")
    return data


def _download(url: str) -> bytes:
    # imported here because `condgen TASK --help` reaches this file
    from condgen_cli.zoo.fetch import fetch_bytes

    return fetch_bytes(url, MAX_DOWNLOAD)
