"""Dialogues in JSON as alternating turns of two speakers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from condgen_cli.errors import InputError

__all__ = ["Message", "merge_turns", "parse_dialogue", "remove_private"]

_PRIVATE = re.compile(
    r"""
    \b(?:https?://|www\.)\S+                # a web address
    | [\w.+-]+@[\w-]+\.[\w.-]+              # an e-mail address
    | (?<!\w)\+?\d(?:[\d\s().-]*\d){6,}(?!\w)   # a telephone number, or another of seven digits or more
    """,
    re.VERBOSE,
)
_REMOVED = "…"
_SUSPECT = re.compile(r"@|://|www\.|\d[\d\s().-]{5}")
_LISTS = ("turns", "dialogue", "dialog", "messages", "conversation")
_TEXTS = ("text", "content", "message")
_SPEAKERS = ("speaker", "role", "sender", "from")


class Message(NamedTuple):
    """One message of a speaker."""

    speaker: str
    text: str


def parse_dialogue(document: Any) -> list[Message]:
    """The messages of a dialogue in JSON.

    A dialogue is a list of turns, or an object with such a list as ``turns``, ``dialogue`` or ``messages``. A turn is a string
    (two speakers alternate), an object with ``text`` and ``speaker`` (or ``content`` and ``role``), or a list of a speaker and
    a text or texts.

    Raises:
        InputError: if the document has another form.
    """
    if isinstance(document, dict):
        document = next((document[name] for name in _LISTS if name in document), None)
    if not isinstance(document, list):
        raise InputError("not a dialogue", 'a list of turns, such as ["Hi!", "Hello."], or an object with one as "turns"')
    return [message for number, turn in enumerate(document) for message in _messages(turn, number)]


def _messages(turn: Any, number: int) -> list[Message]:
    if isinstance(turn, str):
        return [Message(str(number % 2), turn)]
    if isinstance(turn, dict):
        text = next((turn[name] for name in _TEXTS if name in turn), None)
        speaker = next((str(turn[name]) for name in _SPEAKERS if name in turn), str(number % 2))
        if isinstance(text, str):
            return [Message(speaker, text)]
    if isinstance(turn, list) and len(turn) == 2 and isinstance(turn[0], int | str):
        texts = [turn[1]] if isinstance(turn[1], str) else turn[1]
        if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
            return [Message(str(turn[0]), text) for text in texts]
    raise InputError(f"turn {number + 1} is neither a text nor an object with a text")


def merge_turns(messages: Iterable[Message]) -> list[str]:
    """Turns: consecutive messages of a speaker joined by spaces, without empty ones."""
    turns: list[str] = []
    last = None
    for speaker, text in messages:
        text = " ".join(text.split())
        if not text:
            continue
        if speaker == last:
            turns[-1] += f" {text}"
        else:
            turns.append(text)
        last = speaker
    return turns


def remove_private(text: str) -> str:
    """Replace web and e-mail addresses and long numbers, such as telephone numbers, by ``…``.

    Other numbers and names stay.
    """
    return _PRIVATE.sub(_REMOVED, text) if _SUSPECT.search(text) else text
