"""Destinations of a task's results: stdout, one file, or a file for each input."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from condgen_cli.errors import CondgenError
from condgen_cli.files import OutputFile
from condgen_cli.files.sources import STDIN, is_url, stem
from condgen_cli.inputs.lines import text_stem
from condgen_cli.tasks.printers import Printer, Stream
from condgen_cli.terminal import console

__all__ = ["Destination", "EachInput", "Names", "OneFile", "Stdout", "fill", "is_pattern"]

_PLACE = re.compile(r"\{(stem|name|parent)\}")

MakePrinter = Callable[[Stream], Printer]


def is_pattern(path: Path) -> bool:
    """Whether a path contains ``{stem}``, ``{name}`` or ``{parent}``, and so stands for a file for each input."""
    return bool(_PLACE.search(str(path)))


def fill(pattern: Path, source: str, suffix: str = "") -> Path:
    """Fill in a pattern for one input.

    Args:
        pattern: ``{stem}`` is the input's file name without its suffix, ``{name}`` with it, ``{parent}`` its folder.
        source: the input: a path, a URL, ``-``, or the name of a text such as ``notes.txt:12``.
        suffix: text appended to stem and name.
    """
    path, _, line = source.rpartition(":")
    is_line = bool(path) and line.isdecimal() and not is_url(source)
    place = path if is_line else urlsplit(source).path if is_url(source) else source
    values = {
        "stem": (text_stem(source) if is_line else stem(source)) + suffix,
        "name": (f"{Path(place).name}-{line}" if is_line else Path(place).name or stem(source)) + suffix,
        "parent": "." if is_url(source) or place == STDIN else str(Path(place).parent),
    }
    return Path(_PLACE.sub(lambda match: values[match.group(1)], str(pattern)))


class Names:
    """Assigns output paths to inputs by a pattern. Of inputs with the same path, all but the first get a number, with a
    warning."""

    def __init__(self, pattern: Path) -> None:
        self.pattern = pattern
        self._taken: dict[Path, str] = {}

    def path(self, source: str) -> Path:
        """The path for the result of an input."""
        first = path = fill(self.pattern, source)
        number = 1
        while path in self._taken:
            number += 1
            path = fill(self.pattern, source, f"-{number}")
        if number > 1:
            console.warn(f"{source}: {first} holds the result of {self._taken[first]}, so this result goes to {path}")
        self._taken[path] = source
        return path


class Destination(Protocol):
    """A destination of results. ``printer`` is used for each input, then ``close``; if the command is stopped, ``interrupt``
    instead, or ``abandon`` if there was no result yet."""

    def printer(self, source: str) -> AbstractContextManager[Printer]: ...
    def close(self, successful: bool) -> None:
        """End the document. ``successful``: whether any input succeeded, or none failed."""

    def interrupt(self) -> None:
        """Keep the results so far, as far as possible."""

    def abandon(self) -> None:
        """Leave older files as they were: no result was written."""


class Stdout:
    """Standard output, for all inputs."""

    def __init__(self, make: MakePrinter) -> None:
        self._printer = make(sys.stdout)

    @contextmanager
    def printer(self, source: str) -> Iterator[Printer]:
        yield self._printer

    def close(self, successful: bool) -> None:
        self._printer.close()

    def interrupt(self) -> None:
        with suppress(CondgenError, OSError, ValueError):
            self._printer.close()

    def abandon(self) -> None:
        pass


class OneFile:
    """One file for the results of all inputs. It replaces an older one at the end, unless all inputs failed.

    Args:
        path: path of the file.
        make: makes its printer.
        keeps_errors: whether a document of errors alone is kept too, as long as it replaces no older file.
    """

    def __init__(self, path: Path, make: MakePrinter, keeps_errors: bool) -> None:
        self.keeps_errors = keeps_errors
        self._file = OutputFile(path)
        self._printer = make(self._file)

    @contextmanager
    def printer(self, source: str) -> Iterator[Printer]:
        yield self._printer

    def close(self, successful: bool) -> None:
        self._printer.close()
        if successful or (self.keeps_errors and not self._file.path.exists()):
            self._file.commit()
        else:
            self._file.discard()

    def interrupt(self) -> None:
        with suppress(CondgenError):
            self._printer.close()
        _keep(self._file)

    def abandon(self) -> None:
        self._file.discard()


class EachInput:
    """A file for each input. An input that fails before anything is written leaves no file, and an older file unchanged.

    Args:
        names: assigns the paths.
        make: makes the printer of an input's file.
    """

    def __init__(self, names: Names, make: MakePrinter) -> None:
        self.names = names
        self.make = make

    @contextmanager
    def printer(self, source: str) -> Iterator[Printer]:
        file = OutputFile(self.names.path(source))
        try:
            printer = self.make(file)
            yield printer
            printer.close()
        except BaseException:
            _keep(file)
            raise
        file.commit()

    def close(self, successful: bool) -> None:
        pass

    def interrupt(self) -> None:
        pass

    def abandon(self) -> None:
        pass


def _keep(file: OutputFile) -> None:
    if kept := file.keep():
        console.warn(f"the results so far are in {kept}")
