"""Input of the translate command: texts, long ones in parts of whole sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from condgen_cli.errors import InputError
from condgen_cli.item import Item

__all__ = ["read", "split"]

_CJK = "\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_CLOSING = "\"'”’“‘»«」』)\\])）】》"
_WORD_LENGTH = 12
"""Characters per word for the length limits: longer runs are compounds or no words at all, and count as several."""

_CHARACTER = re.compile(f"[{_CJK}]")
_RUN = re.compile(f"[^\\s{_CJK}]+")
# each alternative starts at the first mark of a row, so that a long row is scanned once
_END = re.compile(
    rf"""
    (?: (?<![。！？｡]) [。！？｡]+ [{_CLOSING.replace("“", "").replace("‘", "").replace("«", "")}]*
      | (?<![.!?…]) (?: (?<!\b\w)\. | [!?…] ) [.!?…]*+ [{_CLOSING}]*+ (?=\s|$)    # not the dots of z. B. and 3. Mai
      | (?<![!?]) [!?]++ [{_CLOSING}]*+ (?=[{_CJK}])
      | \n [^\S\n]* \n
    ) \s*
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class _Limit:
    """A limit of length, in words or in Chinese, Japanese or Korean characters; in mixed text their shares add up."""

    words: int
    characters: int

    def share(self, text: str) -> float:
        """A text's length as a share of the limit; above 1 if it is too long."""
        words = sum(-(-len(run) // _WORD_LENGTH) for run in _RUN.findall(text))
        return words / self.words + len(_CHARACTER.findall(text)) / self.characters


_PART = _Limit(25, 30)
"""About the length of training sentences; models fail on much longer ones."""
_SENTENCE = _Limit(200, 400)


def read(source: str) -> Iterator[Item]:
    """A text as one item, or as several parts if it is long; 0 parts if it is blank.

    Raises:
        InputError: if a sentence is too long to be translated.
    """
    parts = split(source)
    if not parts:
        yield Item(id=source, condition="", source=source, parts=0)
    for number, part in enumerate(parts):
        yield Item(id=source, condition=part, source=source, part=number, parts=len(parts))


def split(text: str) -> list[str]:
    """Split a text at sentence ends into parts of at most about 25 words or 30 Chinese characters.

    A longer sentence is its own part. White space around parts is removed; a blank text has no parts.

    Raises:
        InputError: if a sentence has more than about 200 words or 400 Chinese characters.
    """
    text = text.strip()
    if _PART.share(text) <= 1:
        return [text] if text else []
    parts: list[str] = []
    taken = 2.0  # above 1, so that the first sentence starts a part
    for sentence in _sentences(text):
        if _SENTENCE.share(sentence) > 1:
            raise InputError(
                f"a sentence of {len(sentence)} characters is too long (at most about {_SENTENCE.words} words,"
                f" or {_SENTENCE.characters} Chinese characters); split it"
            )
        share = _PART.share(sentence)
        if taken + share > 1:
            parts.append(sentence)
            taken = share
        else:
            parts[-1] += sentence
            taken += share
    return [part.strip() for part in parts]


def _sentences(text: str) -> Iterator[str]:
    """Sentences with the white space after them; joined they are the text."""
    start = 0
    for end in _END.finditer(text):
        yield text[start : end.end()]
        start = end.end()
    if start < len(text):
        yield text[start:]
