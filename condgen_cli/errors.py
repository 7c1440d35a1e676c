"""What can go wrong, as the user is told it: one line, an optional hint, an exit code."""

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
        hint: a command or a change that helps, if one is known.
    """

    exit_code = 1
    printed = False
    """Whether the document on stdout holds it already."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def as_json(self) -> dict[str, object]:
        return {"code": self.exit_code, "message": self.message, "hint": self.hint}


def reason_of(error: BaseException) -> str:
    """Why something failed, on one line: what the operating system says, else what the exception says, else its type."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


def memory_error(error: Exception) -> CondgenError | None:
    """What is told where an allocation failed; None for any other error."""
    text = str(error)
    if not (isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in text):
        return None
    found = re.search(r"tried to allocate ([\d.]+ ?\w+)", text, re.IGNORECASE)
    size = f" for {found[1]}" if found else ""
    return CondgenError(f"there is not enough memory{size}", "smaller batches, inputs or models need less")


class InputError(CondgenError):
    """One input can't be read as what the task needs; in a batch the others go on."""


class UnknownFormatError(InputError):
    """A file is in no format that its reader knows."""


class UsageError(CondgenError):
    """The command line, a recipe or a plugin's arguments are wrong."""

    exit_code = 2


class NotFoundError(CondgenError):
    """A file, model, data set, recipe or plugin that is not there."""

    exit_code = 3


class PartialFailure(CondgenError):
    """Some inputs failed; the others were done and written."""

    exit_code = 4


class PluginError(CondgenError):
    """The plugin behind a command can't be used."""

    exit_code = 5


class IntegrityError(CondgenError):
    """A size, a hash, a header or a name that can't be trusted."""

    exit_code = 6


class NetworkError(CondgenError):
    """The network failed, or is needed while offline."""

    exit_code = 7
