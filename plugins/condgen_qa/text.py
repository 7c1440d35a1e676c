"""Stories as sentences, sentences as words: pure text, so that the command line can use it at no cost."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Question", "has_words", "sentences", "tokens"]

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_SENTENCE = re.compile(r"[^.!?\s][^.!?\n]*(?:[.!?](?=\S)(?![.!?])[^.!?\n]*)*[.!?]*")


class Question(NamedTuple):
    """What a model is asked.

    Args:
        story: the sentences that stand before the question, in order.
        text: the question.
    """

    story: tuple[str, ...]
    text: str


def tokens(text: str) -> list[str]:
    """Words in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def has_words(text: str) -> bool:
    """Whether there is a word in it."""
    return _WORD.search(text) is not None


def sentences(text: str) -> list[str]:
    """Sentences of a text: a line's end ends one, and so does a full stop, a question mark or an exclamation mark before a
    blank. What holds no word is dropped."""
    return [found for found in map(str.strip, _SENTENCE.findall(text)) if has_words(found)]
