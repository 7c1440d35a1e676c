"""Arguments of a command line as inputs: files, globs, directories, URLs and standard input, expanded lazily and in order."""

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

__all__ = ["Inputs", "expand", "natural"]


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

    def warn_of_left_out(self) -> None:
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
    known = list(arguments) if isinstance(arguments, Sequence) else []
    wanted = _Wanted(tuple(suffixes), tuple(kinds))
    protect_where(_inclusion(known, wanted))
    left_out: list[str] = []
    files = [argument for argument in known if os.path.isfile(argument)]
    pipes = [argument for argument in known if argument == STDIN or _is_pipe(argument)]
    single = len(files) + len(pipes) + sum(map(is_url, known))
    count = single if single == len(known) else None
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


def _expanded(arguments: Iterable[str], wanted: _Wanted, lines: list[str]) -> Iterator[str | Failure]:
    for argument in arguments:
        if argument == STDIN or is_url(argument):
            yield argument
        elif os.path.lexists(argument):
            yield from _existing(argument, wanted, lines)
        elif glob.has_magic(argument):
            yield from _matching(argument, wanted, lines)
        else:
            yield Failure(argument, NotFoundError(f"{argument} does not exist", near_names(argument)))


def _inclusion(arguments: Sequence[str], wanted: _Wanted) -> Callable[[str], bool]:
    """Whether a path that exists is one of the inputs that arguments stand for; what is costly is found when first asked."""

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


def _existing(argument: str, wanted: _Wanted, lines: list[str]) -> Iterator[str | Failure]:
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
    def endings(self) -> str:
        """The suffixes of most of the files, in brackets after a blank; empty if they have none."""
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
    for path, is_directory in sorted(found, key=lambda item: natural(item[0])):
        if is_directory:
            yield from _walk(path, wanted, left_out)
        elif os.path.isfile(path) and wanted(path):
            yield path
        elif os.path.isdir(path):
            left_out.links += 1
        else:
            left_out.suffixes[Path(path).suffix.lower()] += 1


def _matching(pattern: str, wanted: _Wanted, lines: list[str]) -> Iterator[str | Failure]:
    matches = sorted(_matching_paths(pattern), key=natural)
    if not matches:
        yield Failure(pattern, NotFoundError(f"nothing matches {pattern}"))
    for path in matches:
        yield from _existing(path, wanted, lines)


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
