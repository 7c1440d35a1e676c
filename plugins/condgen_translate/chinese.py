"""Chinese in the one way that a model was trained on: simplified characters, ASCII letters and digits, full-width marks."""

from __future__ import annotations

import re
from collections.abc import Sequence

from condgen_cli.data.script import to_simplified
from condgen_cli.data.subwords import BLANK, Piece

__all__ = ["normalise_chinese", "restore_written"]

_ALPHANUMERICS = {
    full: full - 0xFEE0 for first, last in ("09", "AZ", "az") for full in range(ord(first) + 0xFEE0, ord(last) + 0xFEE1)
}
"""Full-width letters and digits, each with its ASCII counterpart."""
_HAN = r"\u3400-\u4dbf\u4e00-\u9fff"
# not the point of a file's name or the colon of a time
_MARK = re.compile(rf"(?<=[{_HAN}])[,.?!:;](?![\w.])", re.ASCII)
_FULL_MARKS = dict(zip(",.?!:;", "，。？！：；", strict=True))


def normalise_chinese(text: str) -> str:
    """A Chinese text with traditional characters as simplified ones, full-width letters and digits as ASCII, and an ASCII mark
    after a Chinese character as the full-width one.
    """
    text = to_simplified(text.translate(_ALPHANUMERICS))
    return _MARK.sub(lambda mark: _FULL_MARKS[mark[0]], text)


def restore_written(pieces: Sequence[Piece], read: str, written: str) -> list[Piece]:
    """The pieces of a text that was made ``plain``, with the characters of the text as it was written.

    Args:
        pieces: of ``read``.
        read, written: the text that was made plain, and before that. Where their lengths differ the pieces stay as they are.
    """
    if read == written or len(read) != len(written):
        return list(pieces)
    shown, place = [], 0
    for piece in pieces:
        characters = piece.text.strip(BLANK)
        start = read.find(characters, place)
        if start < 0:  # the vocabulary has composed a letter and its accent
            return list(pieces)
        place = start + len(characters)
        shown.append(piece._replace(text=piece.text.replace(characters, written[start:place]) if characters else piece.text))
    return shown
