"""What the chat command reads: a turn, or a dialogue as JSON."""

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
"""What a dialogue begins with. ``[laughs] Hello`` is a turn."""


def read(source: str) -> Iterator[Item]:
    """A dialogue in JSON, whose last turn is to be replied to; any other text is one turn, and a blank one none.

    Raises:
        InputError: if JSON is no dialogue, or has no turn, or begins as a dialogue does and is no JSON.
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
    """The dialogue in JSON that a text is; None if it is a turn.

    Raises:
        InputError: if it begins as a dialogue does and is no JSON.
    """
    if not text.startswith(("[", "{")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        if _DIALOGUE.match(text):
            raise InputError("the text begins as a dialogue in JSON does, but is none") from None
    return None
