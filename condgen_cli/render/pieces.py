"""Labels for display: without the marks of subword vocabularies, without control characters."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from itertools import pairwise

from condgen_cli.generation import Axis

__all__ = ["CONTINUES", "joins_previous", "label", "readable", "words"]

CONTINUES = "-"
"""Mark before a piece that continues a word, as in *-ing*; ASCII, so that any terminal can show it."""

_BEGINS = "▁"
"""Mark of subword vocabularies before a piece that begins a word (U+2581)."""
_BOX = "␣"
_SPECIAL = re.compile(r"<[^<>\s]+>")
_INVISIBLE = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")


def readable(axis: Axis, encoding: str = "utf-8") -> Axis:
    """The axis with labels for display; seconds stay numbers, except those of frames.

    The mark of a word's beginning is removed, and pieces that continue a word begin with ``CONTINUES`` instead, but only
    letters and digits after letters and digits: with punctuation, and in scripts without spaces such as Chinese, the mark
    would say nothing. Characters that ``encoding`` can't encode are escaped.
    """
    if axis.kind == "time":
        return axis
    names = _names(axis, encoding, " ")
    continued = _continuations(axis)
    return replace(axis, labels=tuple(CONTINUES * go_on + name for go_on, name in zip(continued, names, strict=True)))


def words(axis: Axis, encoding: str = "utf-8") -> tuple[str, ...]:
    """The labels as in a text, without marks. A piece that is a single blank, as in a vocabulary of characters, becomes an open
    box."""
    return _names(axis, encoding, _BOX if _BOX.encode(encoding, "ignore") else " ")


def joins_previous(axis: Axis) -> tuple[bool, ...]:
    """Whether each label follows the previous one without a space; always False if labels have no marks."""
    if not _is_marked(axis):
        return (False,) * len(axis)
    pieces = [str(value) for value in axis.labels]
    return tuple(
        index > 0 and not piece.startswith(_BEGINS) and not _SPECIAL.fullmatch(piece) for index, piece in enumerate(pieces)
    )


def label(value: str | float) -> str:
    """A label that is safe to print: numbers shortened, control and invisible characters escaped, blanks quoted."""
    text = value if isinstance(value, str) else f"{value:g}"
    if not text.strip(" "):
        return repr(text)
    return "".join(c.encode("unicode_escape").decode() if unicodedata.category(c) in _INVISIBLE else c for c in text)


def _names(axis: Axis, encoding: str, blank: str) -> tuple[str, ...]:
    if axis.kind == "frames":
        return _stamps(axis)
    marked = _is_marked(axis)
    names = (_without_mark(str(value)) or blank if marked else label(value) for value in axis.labels)
    return tuple(label(name).encode(encoding, "backslashreplace").decode(encoding) for name in names)


def _stamps(axis: Axis) -> tuple[str, ...]:
    """Labels of frames' times: ``2.5s``, ``1:05`` from a minute on, ``1:02:03`` from an hour on; texts unchanged."""
    seconds = [value for value in axis.labels if not isinstance(value, str)]
    close = any(after - before < 0.1 for before, after in pairwise(seconds))
    return tuple(label(value) if isinstance(value, str) else _stamp(value, 2 if close else 1) for value in axis.labels)


def _stamp(seconds: float, digits: int) -> str:
    if seconds < 60:
        return f"{seconds:.{digits}f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _is_marked(axis: Axis) -> bool:
    return axis.kind == "tokens" and any(isinstance(value, str) and value.startswith(_BEGINS) for value in axis.labels)


def _without_mark(piece: str) -> str:
    return piece.removeprefix(_BEGINS).replace(_BEGINS, " ")


def _continuations(axis: Axis) -> list[bool]:
    if not _is_marked(axis):
        return [False] * len(axis)
    pieces = ["", *map(str, axis.labels)]
    return [_is_spaced(before[-1:]) and _is_spaced(piece[:1]) for before, piece in pairwise(pieces)]


def _is_spaced(letter: str) -> bool:
    """Whether it is a letter or digit of a script with spaces between words."""
    return letter.isalnum() and unicodedata.east_asian_width(letter) not in ("W", "F")
