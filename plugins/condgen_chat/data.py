"""Readers of dialogues: the Self-dialogue Corpus, the BYU chit-chat dataset, and users' own files.

An item is a tuple of turns with the next turn as its reference. Its id is the split, the line of the dialogue and the number
of the turn. A dialogue gives at most ``replies`` items, evenly spread and with the last turn among them; 0: all.

Consecutive messages of one speaker are one turn. Addresses and long numbers are removed (``turns.remove_private``). A dialogue
ends before the first turn with a word of the abuse list (``filter``), unless ``filter=no``. Dialogues that differ only in case
and white space are used once, dialogues of one turn not at all.

Data without published splits are split by a hash of the dialogue: one in fifty is for ``dev``, one for ``test``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from condgen_chat.filter import is_listed
from condgen_chat.turns import merge_turns, parse_dialogue, remove_private
from condgen_cli.data.packed import find_file, read_lines
from condgen_cli.data.splits import hash_text, split_by_hash
from condgen_cli.errors import InputError, NotFoundError, UsageError
from condgen_cli.item import Item

__all__ = ["chitchat", "dialogues", "self_dialogue"]


class _Dialogue(NamedTuple):
    """Turns, and the number of the file's line."""

    number: int
    turns: tuple[str, ...]


def self_dialogue(root: Path, split: str, replies: str = "10", filter: str = "yes") -> Sequence[Item]:
    """The Self-dialogue Corpus (Fainberg et al. 2018): chats about films, music or sport, both sides by one author.

    The file is ``self_dialogue.jsonl``, plain or compressed by gzip or xz, with an object with ``turns`` on each line.

    Args:
        root: the folder that holds the file, or one that holds it as ``self_dialogue``.
        split: ``train``, ``dev`` or ``test``.
        replies: largest number of items per dialogue; 0: all.
        filter: ``yes`` or ``no``: whether a dialogue ends before a turn with a word of the abuse list.
    Raises:
        UsageError: if ``replies`` isn't a number.
        NotFoundError: if the file is missing.
        InputError: if a line is malformed; the message begins with its file and number.
        IntegrityError: if the file is damaged.
    """
    return _read_published(root, "self_dialogue.jsonl", ("self_dialogue", "self-dialogue"), split, replies, filter)


def chitchat(root: Path, split: str, replies: str = "10", filter: str = "yes") -> Sequence[Item]:
    """The BYU chit-chat dataset (Myers et al. 2020): chats between students, starting from a question.

    The file is ``chitchat_dataset.jsonl``, plain or compressed by gzip or xz, with an object with ``turns`` on each line. A
    turn is a speaker and messages.

    Args, Raises: as for ``self_dialogue``.
    """
    return _read_published(root, "chitchat_dataset.jsonl", ("chitchat",), split, replies, filter)


def dialogues(root: Path, split: str, file: str = "{split}.jsonl", replies: str = "10", filter: str = "yes") -> Sequence[Item]:
    """Users' own dialogues: a file with one per line, in any form of ``turns.parse_dialogue``.

    Args:
        root: the folder.
        split: split, which replaces ``{split}`` in the file's name. A file without it is split by a hash.
        file: name of the file, which may be compressed by gzip or xz.
        replies, filter: as for ``self_dialogue``.
    Raises:
        As ``self_dialogue``.
    """
    wanted = root / file.replace("{split}", split)
    path = find_file(wanted)
    if path is None:
        raise NotFoundError(f"no file {wanted}", "--set file={split}.jsonl")
    return _items(path, split, replies, filter, divided="{split}" not in file)


def _read_published(root: Path, name: str, folders: Sequence[str], split: str, replies: str, filter: str) -> Sequence[Item]:
    path = find_file(*(root / folder / name for folder in (".", *folders)))
    if path is None:
        raise NotFoundError(f"{root} holds no {name}", "name its folder with --data-dir")
    return _items(path, split, replies, filter, divided=True)


def _items(path: Path, split: str, replies: str, filter: str, divided: bool) -> list[Item]:
    if not replies.isdecimal():
        raise UsageError(f"replies can't be {replies!r}", "largest number per dialogue, or 0 for all: --set replies=10")
    items, seen = [], set()
    for number, turns in _dialogues(path):
        text = "\n".join(turns).casefold()
        key = hash_text(text)
        if key in seen or (divided and split_by_hash(text, 50, dev=[0], test=[1]) != split):
            continue
        seen.add(key)
        turns = _prepare_turns(turns, filter)
        items += [
            Item(f"{split}/{number}/{place}", turns[:place], (turns[place],), source=turns[place - 1], text=turns[place - 1])
            for place in _reply_places(len(turns), int(replies))
        ]
    return items


def _reply_places(turns: int, most: int) -> Sequence[int]:
    """Indices of the turns that are references: 1 to turns − 1, or ``most`` of them."""
    if not most or turns - 1 <= most:
        return range(1, turns)
    return [turns - 1 - (most - 1 - index) * (turns - 2) // max(1, most - 1) for index in range(most)]


def _prepare_turns(turns: Sequence[str], filter: str) -> tuple[str, ...]:
    """The turns of a dialogue that are used, without private data."""
    if filter != "no" and is_listed("\n".join(turns)):
        turns = turns[: next(place for place, turn in enumerate(turns) if is_listed(turn))]
    return tuple(map(remove_private, turns))


def _dialogues(path: Path) -> Iterator[_Dialogue]:
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        try:
            messages = parse_dialogue(json.loads(line))
        except (ValueError, RecursionError):
            raise InputError(f"{path}:{number}: not JSON") from None
        except InputError as error:
            raise InputError(f"{path}:{number}: {error.message}", error.hint) from None
        turns = merge_turns(messages)
        if len(turns) > 1:
            yield _Dialogue(number, tuple(turns))
