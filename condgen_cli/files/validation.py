"""Validation errors of pydantic as one-line messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = ["plain_message", "validation_message"]

_PREFIXES = ("Value error, ", "Assertion failed, ")
"""Prefixes of the messages of validators."""


def plain_message(message: str) -> str:
    """A message of pydantic on one line, beginning in lower case."""
    for prefix in _PREFIXES:
        message = message.removeprefix(prefix)
    message = " ".join(message.split())
    return message[:1].lower() + message[1:]


def validation_message(error: ValidationError) -> str:
    """The first error on one line, with the path of the field."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    message = plain_message(first["msg"])
    return f"{place}: {message}" if place else message
