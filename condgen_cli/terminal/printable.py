"""Text from outside as it may be printed: a terminal obeys control characters, and a line of text must stay one."""

from __future__ import annotations

import codecs
import json
import re

__all__ = ["ESCAPES", "escape_controls", "printable"]

ESCAPES = "condgen-escape"
"""An error handler for files: what the encoding lacks is written as JSON escapes it, so that a document stays one."""

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_ENDS = "\u2028\u2029\x85"
_LINE = re.compile(f"[\x00-\x1f\x7f-\x9f{_BIDI}{_ENDS}\ud800-\udfff]")
_LINES = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}{_ENDS}\ud800-\udfff]")
_BUT_COLORS = re.compile(rf"\x1b\[[0-9;]*m|{_LINES.pattern}")


def printable(text: str, *, lines: bool = False) -> str:
    """Text whose control characters are escapes: ``\\x1b`` for ESC, ``\\n`` for the end of a line.

    Characters that change the direction of writing are control characters too. A byte of a file name that is no UTF-8, which
    Python keeps as a surrogate, is written as that byte.

    Args:
        text: from a file name, an input, a manifest, a model.
        lines: ends of lines and tabs stay.
    """
    return (_LINES if lines else _LINE).sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def escape_controls(text: str, *, colors: bool) -> str:
    """Text that a terminal can't be steered with, whatever wrote it: the last net behind ``printable``.

    Escapes are those of JSON, so that a document keeps its meaning.

    Args:
        text: lines of text.
        colors: sequences that only set colours stay.
    """
    return (_BUT_COLORS if colors else _LINES).sub(_escape_for_json, text)


def _escape_for_json(match: re.Match[str]) -> str:
    return match.group() if len(match.group()) > 1 else json.dumps(match.group())[1:-1].replace("\x7f", "\\u007f")


def _escape_unencodable(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


codecs.register_error(ESCAPES, _escape_unencodable)
