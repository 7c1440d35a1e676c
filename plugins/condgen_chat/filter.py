"""A word list against abuse: turns with its words are left out of training data, and replies show stars in place of them.

It is only a list of words: it misses insults in ordinary words or odd spelling, and also stops quoted words. Words are stored
as hashes, so that the list can be published without printing them.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache, lru_cache
from importlib.resources import files

__all__ = ["digest", "is_listed", "mask_listed"]

_WORD = re.compile(r"\w+")


def digest(word: str) -> str:
    """The form of a word in ``blocked.txt``: the first 16 hexadecimal digits of the SHA-256 of the case-folded word."""
    return hashlib.sha256(word.casefold().encode()).hexdigest()[:16]


def is_listed(text: str) -> bool:
    """Whether a text has a word of the list."""
    return any(map(_is_listed_word, _WORD.findall(text)))


def mask_listed(text: str) -> str:
    """Replace the letters of listed words by stars."""
    return _WORD.sub(lambda found: "*" * len(found[0]) if _is_listed_word(found[0]) else found[0], text)


@lru_cache(maxsize=1 << 16)
def _is_listed_word(word: str) -> bool:
    return digest(word) in _digests()


@cache
def _digests() -> frozenset[str]:
    text = files("condgen_chat").joinpath("blocked.txt").read_text(encoding="ascii")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))
