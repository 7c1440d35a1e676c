"""Escaping text from outside before it is printed, since terminals obey control characters and a line must stay one line."""

from __future__ import annotations

import codecs
import json
import re

__all__ = ["ESCAPES", "escape_controls", "printable"]

ESCAPES = "condgen-escape"
"""An error handler for text files: characters that the encoding lacks are written as JSON escapes, so that JSON stays valid."""

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_ENDS = "\u2028\u2029\x85"
_LINE = re.compile(f"[\x00-\x1f\x7f-\x9f{_BIDI}{_ENDS}\ud800-\udfff]")
_LINES = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}{_ENDS}\ud800-\udfff]")
_BUT_COLORS = re.compile(rf"\x1b\[[0-9;]*m|{_LINES.pattern}")


def printable(text: str, *, lines: bool = False) -> str:
    """Text with its control characters escaped: ``\\x1b`` for ESC, ``\\n`` for a line break.

    Characters that change the direction of writing count as control characters. An invalid UTF-8 byte of a file name, which
    Python represents as a surrogate, is escaped as that byte.

    Args:
        text: text of a file name, an input, a manifest or a model.
        lines: whether line breaks and tabs are kept.
    """
    return (_LINES if lines else _LINE).sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def escape_controls(text: str, *, colors: bool) -> str:
    """Escape all control characters in output: a safety net behind ``printable``.

    Escapes are those of JSON, so that JSON documents keep their meaning.

    Args:
        text: text of any number of lines.
        colors: whether sequences that only set colours are kept.
    """
    return (_BUT_COLORS if colors else _LINES).sub(_escape_for_json, text)


def _escape_for_json(match: re.Match[str]) -> str:
    return match.group() if len(match.group()) > 1 else json.dumps(match.group())[1:-1].replace("\x7f", "\\u007f")


def _escape_unencodable(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


codecs.register_error(ESCAPES, _escape_unencodable)
