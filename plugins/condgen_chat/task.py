"""What the chat command reads: a turn, or a dialogue as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator

from condgen_chat.turns import alternating, parsed
from condgen_cli.errors import InputError
from condgen_cli.item import Item

__all__ = ["read"]


def read(source: str) -> Iterator[Item]:
    """A text that begins with a bracket is a dialogue in JSON, whose last turn is to be replied to; any other is one turn.

    Raises:
        InputError: if JSON is no dialogue, or has no turn.
    """
    text = source.strip()
    if not text.startswith(("[", "{")):
        yield Item(source, (text,), source=source)
        return
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError("the text begins as JSON does, but is none") from None
    turns = alternating(parsed(document))
    if not turns:
        raise InputError("the dialogue has no turn to reply to")
    yield Item(source, tuple(turns), source=source)
