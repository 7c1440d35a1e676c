"""Messages for people, all on stderr, so that stdout holds only results."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from condgen_cli.errors import CondgenError
from condgen_cli.terminal.printable import printable

__all__ = [
    "encoding",
    "fail",
    "info",
    "progress",
    "progress_in_time",
    "stderr_is_terminal",
    "stdout_is_terminal",
    "use_color",
    "warn",
    "width",
]

_RED, _YELLOW, _CYAN = 31, 33, 36


def warn(message: str) -> None:
    """Print one line ``warning: …``."""
    _line("warning", _YELLOW, message)


def info(message: str) -> None:
    """Print lines without a label."""
    _write(printable(message, lines=True))


def fail(error: CondgenError) -> None:
    """Print ``error: …`` and, if the error has a hint, ``hint: …``."""
    _line("error", _RED, error.message)
    if error.hint:
        _line("hint", _CYAN, error.hint)


def stdout_is_terminal() -> bool:
    return _is_terminal(sys.stdout)


def stderr_is_terminal() -> bool:
    return _is_terminal(sys.stderr)


def use_color(stream: TextIO | None = None) -> bool:
    """Whether to use colours on a stream (default: stdout): it is a terminal, and neither NO_COLOR nor TERM=dumb is set."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return _is_terminal(sys.stdout if stream is None else stream)


def encoding() -> str:
    """Encoding of stdout."""
    return getattr(sys.stdout, "encoding", None) or "utf-8"


def width() -> int:
    """Width of the terminal in columns; 80 if there is none and COLUMNS is not set."""
    return shutil.get_terminal_size((80, 24)).columns


@contextmanager
def progress(total: float | None, description: str, *, unit: str = "items") -> Iterator[Callable[[float], None]]:
    """A progress bar on stderr, if that is a terminal.

    Args:
        total: total amount of work; None if unknown.
        description: text before the bar.
        unit: ``items`` or ``bytes``.
    Yields:
        ``advance(amount)``, to be called when work is done.
    """
    if not stderr_is_terminal():
        yield lambda amount: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    counts = [DownloadColumn(), TransferSpeedColumn()] if unit == "bytes" else [MofNCompleteColumn()]
    columns = [TextColumn("{task.description}"), BarColumn(), *counts, TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(escape(printable(description)), total=total)
        yield lambda amount: bar.advance(task, amount)


@contextmanager
def progress_in_time(description: str) -> Iterator[Callable[[float | None, float | None], None]]:
    """A progress bar on stderr, if that is a terminal, of the time within a recording; it appears with the first progress.

    Args:
        description: text before the bar.
    Yields:
        ``show(done, total)``, times in seconds. A ``done`` of None removes the bar; ``total`` is None if unknown.
    """
    if not stderr_is_terminal():
        yield lambda done, total: None
        return
    from datetime import timedelta

    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[clock]}"), TimeRemainingColumn()]
    bar = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)
    task = bar.add_task(escape(printable(description)), total=None, clock="")

    def show(done: float | None, total: float | None) -> None:
        if done is None:
            bar.stop()
            return
        bar.start()
        longest = None if total is None else max(done, total)
        times = [str(timedelta(seconds=round(time))) for time in (done, longest) if time is not None]
        bar.update(task, completed=done, total=longest, clock="/".join(times))

    try:
        yield show
    finally:
        bar.stop()


def _line(label: str, color: int, message: str) -> None:
    if use_color(sys.stderr):
        label = f"\x1b[1;{color}m{label}\x1b[0m"
    _write(f"{label}: {printable(message)}")


def _write(message: str) -> None:
    # a closed stderr must not fail the command
    with suppress(OSError, ValueError):
        print(message, file=sys.stderr, flush=True)


def _is_terminal(stream: TextIO | None) -> bool:
    # a stream is None under pythonw and closed after a broken pipe
    return stream is not None and not stream.closed and stream.isatty()
