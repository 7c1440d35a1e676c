"""Running a plugin's code so that it can end nothing but itself, and so that stdout stays the results'."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, NoReturn

__all__ = ["EscapeError", "divert_stdout", "guard", "told"]

_exit = os._exit
_guards = 0
_interrupts = 0


class EscapeError(Exception):
    """What a plugin did that would have ended the process, such as ``sys.exit(3)``."""


class _ExitError(BaseException):
    """``os._exit`` was called."""


@contextmanager
def guard() -> Iterator[None]:
    """Run a plugin's code: what it raises is an Exception, whatever it was, and what it prints goes to stderr.

    Raises:
        EscapeError: if it would have ended the process.
        KeyboardInterrupt: if the user interrupts it.
    """
    with divert_stdout(), _forbid_exit(), _count_interrupts() as interrupted:
        try:
            yield
        except KeyboardInterrupt as error:
            if interrupted():
                raise
            raise EscapeError("it raised KeyboardInterrupt") from error
        except SystemExit as error:
            raise EscapeError(f"sys.exit({error.code!r})") from error
        except _ExitError as error:
            raise EscapeError(f"os._exit({error.args[0]!r})") from error
        except Exception:
            raise
        except BaseException as error:
            raise EscapeError(told(error)) from error


@contextmanager
def divert_stdout() -> Iterator[None]:
    """What is written to stdout within goes to stderr, what C code writes too: stdout is for results.

    In other threads than the main one it does nothing: standard output is never theirs (``condgen_cli.files.stdout``), and
    the main one may be writing results.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with (
        redirect_stdout(sys.stderr),
        redirect_stderr(sys.stderr),
        _divert_descriptor(),
    ):  # the second puts back what is replaced
        yield


def told(error: BaseException) -> str:
    """An exception on one line: its type and what it says, if it can say anything."""
    name = type(error).__name__
    try:
        text = " ".join(str(error).split())
    except Exception:  # the class is the plugin's
        return name
    if isinstance(error, EscapeError):
        return text
    return f"{name}: {text}" if text else name


@contextmanager
def _count_interrupts() -> Iterator[Callable[[], bool]]:
    """Yields what tells whether the user has interrupted: by a signal, not by an exception that a plugin raises."""
    before = _interrupts
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # none arrives there
    elif signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        outer = signal.getsignal(signal.SIGINT) is _on_interrupt
        yield lambda: not outer or _interrupts > before
    else:
        signal.signal(signal.SIGINT, _on_interrupt)
        try:
            yield lambda: _interrupts > before
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _on_interrupt(number: int, frame: Any) -> NoReturn:
    global _interrupts
    _interrupts += 1
    raise KeyboardInterrupt


@contextmanager
def _forbid_exit() -> Iterator[None]:
    """``os._exit`` raises in this process; one that was forked from it, it ends as ever."""
    global _guards
    process = os.getpid()

    def refuse(status: int) -> NoReturn:
        if _guards and os.getpid() == process:
            raise _ExitError(status)
        _exit(status)

    outer, os._exit = os._exit, refuse
    _guards += 1
    try:
        yield
    finally:
        _guards -= 1
        os._exit = outer


@contextmanager
def _divert_descriptor() -> Iterator[None]:
    """File descriptor 1 is a copy of 2."""
    try:
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # one of them is closed
        yield
        return
    modules = len(sys.modules)
    try:
        yield
    finally:
        if "_ctypes" in sys.modules or any(map(_is_extension, list(sys.modules)[modules:])):
            _flush_c()
        os.dup2(kept, 1)
        os.close(kept)


def _is_extension(module: str) -> bool:
    return str(getattr(sys.modules.get(module), "__file__", "")).endswith((".so", ".pyd"))


def _flush_c() -> None:
    """Write what C code has printed and its library holds back."""
    try:
        import ctypes

        ctypes.CDLL(None).fflush(None)
    except (ImportError, OSError, TypeError, AttributeError):  # there is no such library by that name, as on Windows
        return
