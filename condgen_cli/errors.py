"""Errors as the user sees them: one line, an optional hint, an exit code."""

from __future__ import annotations

import re

__all__ = [
    "CondgenError",
    "InputError",
    "IntegrityError",
    "NetworkError",
    "NotFoundError",
    "PartialFailure",
    "PluginError",
    "UnknownFormatError",
    "UsageError",
    "memory_error",
    "reason_of",
]


class CondgenError(Exception):
    """A failure that needs no traceback.

    Args:
        message: one line without a final full stop, starting in lower case.
        hint: a command or a change that helps; None: none known.
    """

    exit_code = 1
    printed = False
    """Whether the error is already in the JSON document on stdout."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def as_json(self) -> dict[str, object]:
        return {"code": self.exit_code, "message": self.message, "hint": self.hint}


def reason_of(error: BaseException) -> str:
    """The reason for a failure on one line: the operating system's message, else the exception's, else its type."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


def memory_error(error: Exception) -> CondgenError | None:
    """The error to report where an allocation failed; None for any other error."""
    text = str(error)
    if not (isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in text):
        return None
    found = re.search(r"tried to allocate ([\d.]+ ?\w+)", text, re.IGNORECASE)
    size = f" for {found[1]}" if found else ""
    return CondgenError(f"there is not enough memory{size}", "smaller batches, inputs or models need less")


class InputError(CondgenError):
    """An input can't be read as what the task needs; the other inputs are still processed."""


class UnknownFormatError(InputError):
    """A file's format is not supported."""


class UsageError(CondgenError):
    """The command line, a recipe or a plugin's arguments are wrong."""

    exit_code = 2


class NotFoundError(CondgenError):
    """A file, model, data set, recipe or plugin doesn't exist."""

    exit_code = 3


class PartialFailure(CondgenError):
    """Some inputs failed; the results of the others were written."""

    exit_code = 4


class PluginError(CondgenError):
    """A plugin that the command needs can't be used."""

    exit_code = 5


class IntegrityError(CondgenError):
    """A size, a hash, a header or a name is not what it should be."""

    exit_code = 6


class NetworkError(CondgenError):
    """The network failed, or is needed while offline."""

    exit_code = 7
