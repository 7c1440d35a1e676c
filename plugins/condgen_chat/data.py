"""Readers of dialogues: the Self-dialogue Corpus, the BYU chit-chat dataset, and anyone's own.

An item is what has been said, a tuple of turns, and the next turn as its reference. Its id is the split, the line of the
dialogue and the number of the turn. Of a dialogue there are at most ``replies`` items, spread over it evenly, the last turn
always among them; 0 for all.

Messages that a speaker wrote one after another are one turn. Addresses and long numbers are removed (``turns.cleaned``). A
dialogue ends before the first turn with a word of the list (``filter``), unless ``filter=no``. Of dialogues that are alike,
case and blanks aside, there is one. Those of one turn are left out.

Where the publisher has no splits, a hash of the dialogue decides: one in fifty is for ``dev``, one for ``test``.
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
    """Turns, and the number of their line."""

    number: int
    turns: tuple[str, ...]


def self_dialogue(root: Path, split: str, replies: str = "10", filter: str = "yes") -> Sequence[Item]:
    """The Self-dialogue Corpus (Fainberg et al. 2018): people who wrote both sides of a chat about films, music or sport.

    The file is ``self_dialogue.jsonl``, plain or packed by gzip or xz, an object with ``turns`` in each line.

    Args:
        root: the folder that holds the file, or one that holds it as ``self_dialogue``.
        split: ``train``, ``dev`` or ``test``.
        replies: the most items of a dialogue; 0: all.
        filter: ``yes`` or ``no``: whether a dialogue ends before a word of the list.
    Raises:
        UsageError: if ``replies`` is no number.
        NotFoundError: if the file is missing.
        InputError: if a line is wrong; the message begins with its file and number.
        IntegrityError: if the file is damaged.
    """
    return _read_published(root, "self_dialogue.jsonl", ("self_dialogue", "self-dialogue"), split, replies, filter)


def chitchat(root: Path, split: str, replies: str = "10", filter: str = "yes") -> Sequence[Item]:
    """The BYU chit-chat dataset (Myers et al. 2020): students who chat with each other, beginning from a question.

    The file is ``chitchat_dataset.jsonl``, plain or packed by gzip or xz: in each line an object with ``turns``, each a speaker
    and messages.

    Args, Raises: as of ``self_dialogue``.
    """
    return _read_published(root, "chitchat_dataset.jsonl", ("chitchat",), split, replies, filter)


def dialogues(root: Path, split: str, file: str = "{split}.jsonl", replies: str = "10", filter: str = "yes") -> Sequence[Item]:
    """Anyone's own dialogues: a file with one in each line, as ``turns.parsed`` reads it.

    Args:
        root: what the file is relative to.
        split: stands for ``{split}`` in the file's name. A file without it is divided by a hash.
        file: its name; what gzip or xz made of it will do.
        replies, filter: as of ``self_dialogue``.
    Raises:
        as ``self_dialogue``.
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
        raise UsageError(f"replies can't be {replies!r}", "the most of a dialogue, or 0 for all: --set replies=10")
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
    """Which turns are replies to be written: 1 to turns − 1, or so many of them."""
    if not most or turns - 1 <= most:
        return range(1, turns)
    return [turns - 1 - (most - 1 - index) * (turns - 2) // max(1, most - 1) for index in range(most)]


def _prepare_turns(turns: Sequence[str], filter: str) -> tuple[str, ...]:
    """What is used of a dialogue."""
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
            raise InputError(f"{path}:{number}: no JSON") from None
        except InputError as error:
            raise InputError(f"{path}:{number}: {error.message}", error.hint) from None
        turns = merge_turns(messages)
        if len(turns) > 1:
            yield _Dialogue(number, tuple(turns))
