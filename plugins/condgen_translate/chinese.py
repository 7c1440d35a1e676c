"""Normalisation of Chinese text: simplified characters, ASCII letters and digits, full-width punctuation."""

from __future__ import annotations

import re
from collections.abc import Sequence

from condgen_cli.data.script import to_simplified
from condgen_cli.data.subwords import BLANK, Piece

__all__ = ["normalise_chinese", "restore_original"]

_ALPHANUMERICS = {
    full: full - 0xFEE0 for first, last in ("09", "AZ", "az") for full in range(ord(first) + 0xFEE0, ord(last) + 0xFEE1)
}
"""ASCII counterparts of full-width letters and digits."""
_HAN = r"\u3400-\u4dbf\u4e00-\u9fff"
# but not the dot of a file name or the colon of a time
_MARK = re.compile(rf"(?<=[{_HAN}])[,.?!:;](?![\w.])", re.ASCII)
_FULL_MARKS = dict(zip(",.?!:;", "，。？！：；", strict=True))


def normalise_chinese(text: str) -> str:
    """Normalise a Chinese text.

    Traditional characters become simplified, full-width letters and digits ASCII, and an ASCII mark after a Chinese character
    full-width.
    """
    text = to_simplified(text.translate(_ALPHANUMERICS))
    return _MARK.sub(lambda mark: _FULL_MARKS[mark[0]], text)


def restore_original(pieces: Sequence[Piece], read: str, written: str) -> list[Piece]:
    """Pieces of a normalised text with the characters of the original text.

    Args:
        pieces: pieces of ``read``.
        read: the normalised text.
        written: the original text. If its length differs, the pieces are returned unchanged.
    """
    if read == written or len(read) != len(written):
        return list(pieces)
    shown, place = [], 0
    for piece in pieces:
        characters = piece.text.strip(BLANK)
        start = read.find(characters, place)
        if start < 0:  # the vocabulary composed a letter and its accent
            return list(pieces)
        place = start + len(characters)
        shown.append(piece._replace(text=piece.text.replace(characters, written[start:place]) if characters else piece.text))
    return shown
