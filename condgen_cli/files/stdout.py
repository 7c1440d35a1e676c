"""The standard streams of the process, made safe even if some are closed."""

from __future__ import annotations

import io
import os
import sys
import threading
from contextlib import suppress

from condgen_cli.files.writing import storage_error
from condgen_cli.terminal.console import use_color
from condgen_cli.terminal.printable import ESCAPES, escape_controls

__all__ = ["NAME", "prepare_streams", "silence_stdout"]

NAME = "standard output"


class _Stdout(io.TextIOWrapper):
    """Standard output with control characters escaped, and with write errors raised as CondgenError, except broken pipes. It
    belongs to the main thread, which writes the results: what libraries print in other threads goes to stderr."""

    def write(self, text: str, /) -> int:
        if threading.current_thread() is not threading.main_thread():
            return sys.stderr.write(text)
        try:
            return super().write(escape_controls(text, colors=use_color(self)))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise storage_error(NAME, error) from None

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise storage_error(NAME, error) from None


class _ClosedStdout(io.TextIOBase):
    """Replaces a standard output that was closed from the start: writing fails, so that no result is lost silently."""

    encoding = "utf-8"

    def write(self, text: str, /) -> int:
        raise storage_error(NAME, ValueError("it is closed"))


def prepare_streams() -> None:
    """Make stdout and stderr safe to write to.

    Closed descriptors are opened on /dev/null, so that no file opened later gets their numbers, and with them the messages of
    libraries. Characters that stdout's encoding lacks are escaped.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (it lasts as long as the process)
    if sys.stdout is None:
        sys.stdout = _ClosedStdout()
    elif isinstance(sys.stdout, io.TextIOWrapper):
        encoding, lines = sys.stdout.encoding, sys.stdout.line_buffering
        sys.stdout = _Stdout(sys.stdout.detach(), encoding, ESCAPES, line_buffering=lines)
        sys.__stdout__ = sys.stdout  # type: ignore[misc]  # asked for the terminal's width


def silence_stdout() -> None:
    """Discard unwritten output, so that the interpreter doesn't try to write it again at exit."""
    with suppress(OSError, ValueError):  # it is in memory, or closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
