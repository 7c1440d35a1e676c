"""Readers of texts: one long text in segments, and Tang poems in regular forms."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from condgen_cli.data.packed import find_file, read_text
from condgen_cli.data.splits import SPLITS, split_by_hash
from condgen_cli.errors import InputError, NotFoundError, UsageError
from condgen_cli.item import Item
from condgen_generate.prompt import Prompt
from condgen_generate.verse import form_of, lines_of, normalise

__all__ = [
    "CONTEXT",
    "SEGMENT",
    "chinese_poetry",
    "segments",
    "split_poems",
    "text_file",
    "tinyshakespeare",
]

SEGMENT = 1000
"""Length of a segment, in characters."""
CONTEXT = 1000
"""Length of the prompt before a segment, in characters."""

_TANG = "tang_poems.jsonl"
_TANG_PARTS = "**/poet.tang.*.json"
"""Pattern of the publisher's files."""


def tinyshakespeare(root: Path, split: str) -> Iterator[Item]:
    """Shakespeare's plays in segments; see ``segments``.

    Raises:
        NotFoundError: if the file is missing.
        InputError, IntegrityError: if it isn't UTF-8, or its compressed data is damaged.
    """
    return segments(read_text(_find(root, "input.txt")), split)


def text_file(root: Path, split: str, file: str = "input.txt") -> Iterator[Item]:
    """A user's own text, or several concatenated in the order of their names; see ``segments``.

    Args:
        root: the folder.
        split: ``train``, ``dev`` or ``test``.
        file: name or pattern below the folder; .gz and .xz files are decompressed.
    Raises:
        UsageError: if the pattern isn't relative.
        NotFoundError: if no file matches.
        InputError, IntegrityError: if a file isn't UTF-8 or its compressed data is damaged, or if all are empty.
    """
    wrong = UsageError(f"file={file!r} is not a name or pattern below {root}", "for example --set file=*.txt")
    if Path(file).anchor:
        raise wrong
    try:
        paths = sorted(path for path in root.glob(file) if path.is_file())
    except ValueError:
        raise wrong from None
    if not paths:
        raise NotFoundError(f"{root} holds no {file}", "--set file=NAME, or a pattern for several: --set file=*.txt")
    text = "".join(map(read_text, paths))
    if not text.strip():
        raise InputError(f"{', '.join(path.name for path in paths)}: the text is empty")
    return segments(text, split)


def segments(text: str, split: str) -> Iterator[Item]:
    """A split of a text in segments of ``SEGMENT`` characters, each with the ``CONTEXT`` characters before it as its prompt.

    The first 80 % of the characters are for training, the next 10 % for development, the last 10 % for testing. Reading the
    prompt stands in for carrying the state over from segment to segment; only text before the prompt is lost to the model.
    """
    first = {"train": 0, "dev": len(text) * 8 // 10, "test": len(text) * 9 // 10}
    end = {"train": first["dev"], "dev": first["test"], "test": len(text)}[split]
    for number, start in enumerate(range(first[split], end, SEGMENT)):
        prompt = Prompt(text[max(0, start - CONTEXT) : start])
        yield Item(f"{split}/{number}", prompt, (text[start : min(start + SEGMENT, end)],), source=f"{split}/{number}")


def chinese_poetry(root: Path, split: str) -> Iterator[Item]:
    """Tang poems in four regular forms, see ``split_poems``; an item's group is its form.

    Raises:
        NotFoundError: if the file is missing.
        InputError, IntegrityError: if it isn't UTF-8, or its compressed data is damaged.
    """
    poems = split_poems([poem for poem in map(normalise, _poems(root)) if poem])[split]
    for number, poem in enumerate(poems):
        form = form_of(poem)
        assert form is not None
        yield Item(f"{split}/{number}", Prompt(form=form), (poem,), source=f"{split}/{number}", group=form.name)


def split_poems(poems: Sequence[str]) -> dict[str, list[str]]:
    """Distinct poems by split: about 85 % for training, 5 % for development and 10 % for testing.

    Poems that share a line, such as variants, are in the same split, chosen by a hash of the first of them.
    """
    poems = sorted(set(poems))
    leader = list(range(len(poems)))

    def find(poem: int) -> int:
        while leader[poem] != poem:
            leader[poem] = leader[leader[poem]]
            poem = leader[poem]
        return poem

    first_with: dict[str, int] = {}
    for number, poem in enumerate(poems):
        for line in lines_of(poem):
            one, other = find(first_with.setdefault(line, number)), find(number)
            leader[max(one, other)] = min(one, other)
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    for number, poem in enumerate(poems):
        splits[split_by_hash(poems[find(number)], 20, dev=[17], test=[18, 19])].append(poem)
    return splits


def _poems(root: Path) -> Iterator[str]:
    """All poems: from a file with one per line, or from the publisher's files with a list each."""
    parts = sorted(root.glob(_TANG_PARTS))
    for path in parts or [_find(root, _TANG)]:
        text = read_text(path)
        for number, document in enumerate([text] if parts else text.split("\n"), 1):
            if document.strip():
                try:
                    poems = json.loads(document)
                    yield from ("".join(map(str, poem["paragraphs"])) for poem in (poems if parts else [poems]))
                except (ValueError, KeyError, TypeError, RecursionError):
                    place = path if parts else f"{path}:{number}"
                    raise InputError(f"{place}: not a poem", 'for example {"paragraphs": ["…，…。", …]}') from None


def _find(root: Path, name: str) -> Path:
    path = find_file(root / name)
    if path is None:
        raise NotFoundError(f"{root} holds no {name}")
    return path
