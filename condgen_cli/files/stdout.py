"""The three standard streams of the process, whatever whoever started it left of them."""

from __future__ import annotations

import io
import os
import sys
import threading
from contextlib import suppress

from condgen_cli.files.writing import storage_error
from condgen_cli.terminal.console import use_color
from condgen_cli.terminal.printable import ESCAPES, defused

__all__ = ["NAME", "prepare_streams", "silence_stdout"]

NAME = "standard output"


class _Stdout(io.TextIOWrapper):
    """Standard output that no text can steer a terminal through, and whose failures are told as those of a file; one whose
    reader has gone stays a broken pipe. It is the main thread's, which writes the results: what a library prints in another
    goes to stderr."""

    def write(self, text: str, /) -> int:
        if threading.current_thread() is not threading.main_thread():
            return sys.stderr.write(text)
        try:
            return super().write(defused(text, colors=use_color(self)))
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
    """Stands for a standard output that was closed from the beginning: nothing can be written, and so nothing is lost."""

    encoding = "utf-8"

    def write(self, text: str, /) -> int:
        raise storage_error(NAME, ValueError("it is closed"))


def prepare_streams() -> None:
    """Make stdout and stderr safe to write to.

    Closed descriptors are taken, so that no file which is opened later gets their numbers and the messages of some library
    with them. What stdout's encoding lacks is written as escapes.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (it lasts as long as the process)
    if sys.stdout is None:
        sys.stdout = _ClosedStdout()
    elif isinstance(sys.stdout, io.TextIOWrapper):
        encoding, lines = sys.stdout.encoding, sys.stdout.line_buffering
        sys.stdout = _Stdout(sys.stdout.detach(), encoding, ESCAPES, line_buffering=lines)
        sys.__stdout__ = sys.stdout  # type: ignore[misc]  # whose terminal tells how wide it is


def silence_stdout() -> None:
    """Drop what could not be written, so that the interpreter doesn't try once more as it ends."""
    with suppress(OSError, ValueError):  # it is in memory, or closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
