"""Lazy, ordered expansion of command-line arguments into inputs: files, globs, directories, URLs and standard input."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from condgen_cli.errors import CondgenError, InputError, NotFoundError, reason_of
from condgen_cli.files.inputs import identity, protect_where
from condgen_cli.files.sources import STDIN, Failure, is_url, near_names
from condgen_cli.terminal import console

__all__ = ["Inputs", "expand", "natural_key"]


class Inputs(Iterator[str | Failure]):
    """Paths, URLs and ``-`` in order, with a failure in the place of each argument that doesn't exist.

    Args:
        entries: the inputs, found lazily.
        files: files named directly on the command line.
        left_out: warnings about files in directories that were left out, one line for each directory; filled while entries are
            found.
        count: number of entries; None if not known in advance.
        live: whether any entry is a pipe, which may be written to interactively.
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

    def warn_of_left_out(self) -> None:
        """Warn of files that were left out; call it after the last entry."""
        for line in self.left_out:
            console.warn(line)


def expand(arguments: Iterable[str], suffixes: Collection[str] = (), kinds: Collection[str] = ()) -> Inputs:
    """The inputs that arguments stand for; they are protected from being overwritten by the running command.

    A directory stands for the files below it with one of ``suffixes``, with a common suffix of one of ``kinds``, or with
    content of one of ``kinds`` and not a text's suffix. They come in natural order (``2.jpg`` before ``10.jpg``); hidden files
    are skipped, links to directories are not followed, and other files are counted in ``left_out``. A glob pattern stands for
    its matches. Files that are named or matched are taken whatever their kind. ``-`` and URLs stand for themselves. An argument
    that doesn't exist becomes a ``Failure``.

    Args:
        arguments: arguments of the command line.
        suffixes: suffixes in lower case, with the dot.
        kinds: values of ``condgen_cli.data.content.Kind``.
    """
    known = list(arguments) if isinstance(arguments, Sequence) else []
    wanted = _Wanted(tuple(suffixes), tuple(kinds))
    protect_where(_inclusion_test(known, wanted))
    left_out: list[str] = []
    files = [argument for argument in known if os.path.isfile(argument)]
    pipes = [argument for argument in known if argument == STDIN or _is_pipe(argument)]
    single = len(files) + len(pipes) + sum(map(is_url, known))
    count = single if single == len(known) else None
    return Inputs(_expand(arguments, wanted, left_out), files, left_out, count, bool(pipes))


def _is_pipe(argument: str) -> bool:
    return not is_url(argument) and Path(argument).is_fifo()


@dataclass(frozen=True)
class _Wanted:
    """The files that a command takes from a directory."""

    suffixes: tuple[str, ...]
    kinds: tuple[str, ...]

    def __call__(self, path: str) -> bool:
        """Whether to take a file. One with a common suffix is taken without reading it, so that a broken one is reported."""
        suffix = Path(path).suffix.lower()
        if suffix in self.suffixes or (suffix in self._usual and suffix not in _AMBIGUOUS):
            return True
        if not self.kinds:
            return False
        from condgen_cli.data.content import Kind, kind_of, suffixes_of

        if suffix in suffixes_of([Kind.text]):  # texts are never opened, to stay fast in large folders
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
"""Suffixes of videos that are also those of TypeScript sources."""


def _expand(arguments: Iterable[str], wanted: _Wanted, lines: list[str]) -> Iterator[str | Failure]:
    for argument in arguments:
        if argument == STDIN or is_url(argument):
            yield argument
        elif os.path.lexists(argument):
            yield from _expand_existing(argument, wanted, lines)
        elif glob.has_magic(argument):
            yield from _expand_pattern(argument, wanted, lines)
        else:
            yield Failure(argument, NotFoundError(f"{argument} does not exist", near_names(argument)))


def _inclusion_test(arguments: Sequence[str], wanted: _Wanted) -> Callable[[str], bool]:
    """A test whether an existing path is one of the inputs that arguments stand for; costly parts are computed on first use."""

    @cache
    def files() -> set[tuple[int, int] | None]:
        matched = (path for argument in arguments for path in (argument, *_matches(argument)))
        return {identity(path) for path in matched if not os.path.isdir(path)}

    @cache
    def folders() -> list[str]:
        matched = (path for argument in arguments for path in (argument, *_matches(argument)))
        return [os.path.realpath(path) for path in matched if os.path.isdir(path)]

    def includes(path: str) -> bool:
        if identity(path) in files():
            return True
        place = os.path.realpath(path)
        return any(os.path.commonpath([place, folder]) == folder for folder in folders()) and wanted(path)

    return includes


def _matches(argument: str) -> list[str]:
    return [] if os.path.lexists(argument) or not glob.has_magic(argument) else list(_matching_paths(argument))


def _expand_existing(argument: str, wanted: _Wanted, lines: list[str]) -> Iterator[str | Failure]:
    if not os.path.isdir(argument):
        yield argument
        return
    empty, left_out = True, _LeftOut()
    for path in _walk(argument, wanted, left_out):
        empty = False
        yield path
    if empty:
        only = f", only {left_out}{left_out.endings}" if left_out else ""
        yield Failure(argument, NotFoundError(f"{argument} holds no {wanted}{only}"))
    elif left_out:
        lines.append(f"{argument}: {left_out} {'was' if len(left_out) == 1 else 'were'} left out{left_out.endings}")


@dataclass
class _LeftOut:
    """The files of a directory that are left out."""

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
    def endings(self) -> str:
        """The most common suffixes in parentheses, after a space; empty if there are none."""
        names = [suffix for suffix, _ in self.suffixes.most_common() if suffix]
        more = len(names) - _SUFFIXES_SHOWN
        shown = ", ".join(names[:_SUFFIXES_SHOWN]) + (f" and {more} more" if more > 0 else "")
        return f" ({shown})" if shown else ""


_SUFFIXES_SHOWN = 5


def _walk(directory: str, wanted: _Wanted, left_out: _LeftOut) -> Iterator[str | Failure]:
    try:
        with os.scandir(directory) as entries:
            found = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        yield Failure(directory, InputError(f"cannot read {directory}: {reason_of(error)}"))
        return
    for path, is_directory in sorted(found, key=lambda item: natural_key(item[0])):
        if is_directory:
            yield from _walk(path, wanted, left_out)
        elif os.path.isfile(path) and wanted(path):
            yield path
        elif os.path.isdir(path):
            left_out.links += 1
        else:
            left_out.suffixes[Path(path).suffix.lower()] += 1


def _expand_pattern(pattern: str, wanted: _Wanted, lines: list[str]) -> Iterator[str | Failure]:
    matches = sorted(_matching_paths(pattern), key=natural_key)
    if not matches:
        yield Failure(pattern, NotFoundError(f"nothing matches {pattern}"))
    for path in matches:
        yield from _expand_existing(path, wanted, lines)


def _matching_paths(pattern: str) -> Iterator[str]:
    """Paths that a pattern matches, each once; ``**`` matches any number of directories, without following links."""
    parts = pattern.replace(os.altsep or os.sep, os.sep).split(os.sep)
    if "**" not in parts:
        yield from glob.glob(pattern)
        return
    place = parts.index("**")
    start, rest = os.sep.join(parts[:place]), os.sep.join(parts[place + 1 :])
    roots = [f"{root}{os.sep}" for root in glob.glob(start)] if start else [os.sep if place else ""]
    found = (path for root in roots for directory in _directories(root) for path in _paths_below(directory, rest))
    # files in a directory are matched as well, so the directory itself would take them twice
    yield from dict.fromkeys(path for path in found if not os.path.isdir(path))


def _paths_below(directory: str, rest: str) -> Iterator[str]:
    return _matching_paths(f"{glob.escape(directory)}{rest or '*'}")


def _directories(root: str) -> Iterator[str]:
    """A directory and all directories below it, each with a trailing separator; hidden ones and links are left out."""
    yield root
    try:
        with os.scandir(root or os.curdir) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")]
    except OSError:  # as in glob: what can't be read doesn't match
        return
    for name in names:
        yield from _directories(f"{root}{name}{os.sep}")


def natural_key(path: str) -> list[tuple[int, int, str]]:
    """Sort key that compares runs of digits by value, and puts 1 before 01."""
    parts = re.split(r"(\d+)", path)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]
