"""Input of the chat command: a turn, or a dialogue as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from condgen_chat.turns import merge_turns, parse_dialogue
from condgen_cli.errors import InputError
from condgen_cli.item import Item

__all__ = ["read"]

_DIALOGUE = re.compile(r"""\[\s*["[{]|\{\s*["}]""")
"""Beginning of a dialogue as JSON, which ``[laughs] Hello`` isn't."""


def read(source: str) -> Iterator[Item]:
    """An item from a dialogue in JSON, whose last turn is replied to, or from any other text, which is one turn.

    Blank text has no turn (0 parts).

    Raises:
        InputError: for JSON that is not a dialogue or has no turn, and for text that begins like a dialogue but isn't JSON.
    """
    text = source.strip()
    document = _document(text)
    if document is None:
        yield Item(source, (text,), source=source, parts=1 if text else 0)
        return
    turns = merge_turns(parse_dialogue(document))
    if not turns:
        raise InputError("the dialogue has no turn to reply to")
    yield Item(source, tuple(turns), source=source)


def _document(text: str) -> Any:
    """The parsed JSON of a dialogue; None if the text is a turn.

    Raises:
        InputError: if the text begins like a dialogue but isn't JSON.
    """
    if not text.startswith(("[", "{")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        if _DIALOGUE.match(text):
            raise InputError("the text begins like a dialogue in JSON, but is not valid JSON") from None
    return None
