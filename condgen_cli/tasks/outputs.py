"""Where the results of a task go: to stdout, into one file, or into a file for each input."""

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
    """Whether a path stands for a file for each input: it has ``{stem}``, ``{name}`` or ``{parent}``."""
    return bool(_PLACE.search(str(path)))


def fill(pattern: Path, source: str, suffix: str = "") -> Path:
    """The path that a pattern gives an input.

    Args:
        pattern: ``{stem}`` is the input's file name without its suffix, ``{name}`` with it, ``{parent}`` its folder.
        source: a path, a URL, ``-``, or a text's name such as ``notes.txt:12``.
        suffix: stands after stem and name.
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
    """The paths that a pattern gives inputs, each once: of inputs with the same name all but the first get a number, and
    the user is told which."""

    def __init__(self, pattern: Path) -> None:
        self.pattern = pattern
        self._taken: dict[Path, str] = {}

    def path(self, source: str) -> Path:
        """Where the result of an input goes."""
        first = path = fill(self.pattern, source)
        number = 1
        while path in self._taken:
            number += 1
            path = fill(self.pattern, source, f"-{number}")
        if number > 1:
            console.warn(f"{source}: {first} is of {self._taken[first]}, so this one goes to {path}")
        self._taken[path] = source
        return path


class Destination(Protocol):
    """A place for results: ``printer`` for each input, then ``close``; or ``interrupt`` if something stopped the command, or
    ``abandon`` if it did so before the first result."""

    def printer(self, source: str) -> AbstractContextManager[Printer]: ...
    def close(self, successful: bool) -> None:
        """End the document; ``successful``: something was done, or nothing failed."""

    def interrupt(self) -> None:
        """Keep what was done as well as may be."""

    def abandon(self) -> None:
        """Leave everything as it was: nothing has been written."""


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
    """A file for the results of all inputs. It replaces an older one when all is done, if anything was.

    Args:
        path: its name.
        make: the printer that writes it.
        keeps_errors: results that are errors are worth a file of their own, but never in place of an older one.
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
    """A file for each input. One that fails before anything is written leaves none, and an older file as it is.

    Args:
        names: gives each input its path.
        make: the printer that writes an input's file.
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
        console.warn(f"what was done until then is in {kept}")
