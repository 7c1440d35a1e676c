"""Splitting of stories into sentences and words, without imports that slow down the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

__all__ = [
    "Question",
    "content_words",
    "find_names",
    "has_words",
    "join_with_or",
    "restore_case",
    "sentences",
    "strip_possessive",
    "tokens",
]

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_SENTENCE = re.compile(r"[^.!?\s][^.!?\n]*(?:[.!?](?=\S)(?![.!?])[^.!?\n]*)*[.!?]*")
_NAME = re.compile(r"(?<=\s)(?!I\b)[A-Z][^\W_]*(?:['’-][^\W_]+)*")
_LISTED = """
a about after all an and any are at be been before but by can could did do does for from had has have he her his how i
if in is it its many me much my no not now of on or our she should so some that the their them then there they this to
us was we were what when where which who whom whose why will with would you your
"""
_FUNCTION_WORDS = frozenset(_LISTED.split())
"""English words that carry no content of their own."""


class Question(NamedTuple):
    """A question about a story.

    Args:
        story: the sentences before the question, in order.
        text: the question.
    """

    story: tuple[str, ...]
    text: str


def tokens(text: str) -> list[str]:
    """Words in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def content_words(text: str) -> list[str]:
    """The words of a text that aren't function words, in lower case, each once."""
    return [word for word in dict.fromkeys(tokens(text)) if word not in _FUNCTION_WORDS]


def find_names(question: str) -> list[str]:
    """The capitalised words of a question except its first word; none if it is all capitals."""
    return [] if question.isupper() else list(dict.fromkeys(_NAME.findall(question)))


def strip_possessive(word: str) -> str:
    """A word without the possessive ``'s``."""
    return re.sub("['’]s$", "", word)


def restore_case(words: Sequence[str], text: str) -> list[str]:
    """Lower-case words in the spelling of a text, capitals included."""
    written = {word.lower(): word for word in _WORD.findall(text)}
    return [written.get(word, word) for word in words]


def join_with_or(words: Sequence[str]) -> str:
    """Words as a list in a sentence: ``Bob``, ``Bob or Eve``, ``Bob, Eve or Al``."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def has_words(text: str) -> bool:
    """Whether a text has a word."""
    return _WORD.search(text) is not None


def sentences(text: str) -> list[str]:
    """Sentences of a text: ended by a line's end, or by a full stop, question mark or exclamation mark before white space.
    Sentences without words are dropped."""
    return [found for found in map(str.strip, _SENTENCE.findall(text)) if has_words(found)]
