"""Texts to learn from: one long text in segments, and Tang poems in regular forms."""

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
"""Characters of a segment."""
CONTEXT = 1000
"""Characters before it that a model reads first."""

_TANG = "tang_poems.jsonl"
_TANG_PARTS = "**/poet.tang.*.json"
"""As the publisher has them."""


def tinyshakespeare(root: Path, split: str) -> Iterator[Item]:
    """Shakespeare's plays in segments; see ``segments``.

    Raises:
        NotFoundError: if the file isn't there.
        InputError, IntegrityError: if it isn't UTF-8, or is packed and damaged.
    """
    return segments(read_text(_find(root, "input.txt")), split)


def text_file(root: Path, split: str, file: str = "input.txt") -> Iterator[Item]:
    """A text of the user's own, or several that follow one another in the order of their names; see ``segments``.

    Args:
        file: a name or a pattern below the folder; files that end in .gz or .xz are unpacked.
    Raises:
        UsageError: if the pattern isn't a relative one.
        NotFoundError: if there is no such file.
        InputError, IntegrityError: if one isn't UTF-8, or is packed and damaged, or all are empty.
    """
    wrong = UsageError(f"file={file!r} is no name or pattern below {root}", "such as file=*.txt")
    if Path(file).anchor:
        raise wrong
    try:
        paths = sorted(path for path in root.glob(file) if path.is_file())
    except ValueError:
        raise wrong from None
    if not paths:
        raise NotFoundError(f"{root} holds no {file}", "--set file=NAME names the text, or several: file=*.txt")
    text = "".join(map(read_text, paths))
    if not text.strip():
        raise InputError(f"{', '.join(path.name for path in paths)}: there is no text in it")
    return segments(text, split)


def segments(text: str, split: str) -> Iterator[Item]:
    """A split of a text in segments of ``SEGMENT`` characters, each with the ``CONTEXT`` characters before it as its prompt.

    The first 80 % of its characters are for training, then 10 % for development, the last 10 % the test. A model that reads the
    prompt first finds a segment as likely as if it had read on from there: its state is carried over, but for what it would
    remember of text before the prompt.
    """
    first = {"train": 0, "dev": len(text) * 8 // 10, "test": len(text) * 9 // 10}
    end = {"train": first["dev"], "dev": first["test"], "test": len(text)}[split]
    for number, start in enumerate(range(first[split], end, SEGMENT)):
        prompt = Prompt(text[max(0, start - CONTEXT) : start])
        yield Item(f"{split}/{number}", prompt, (text[start : min(start + SEGMENT, end)],), source=f"{split}/{number}")


def chinese_poetry(root: Path, split: str) -> Iterator[Item]:
    """Tang poems in four regular forms, see ``split_poems``; an item's group is its form.

    Raises:
        NotFoundError: if the file isn't there.
        InputError, IntegrityError: if it isn't UTF-8, or is packed and damaged.
    """
    poems = split_poems([poem for poem in map(normalise, _poems(root)) if poem])[split]
    for number, poem in enumerate(poems):
        form = form_of(poem)
        assert form is not None
        yield Item(f"{split}/{number}", Prompt(form=form), (poem,), source=f"{split}/{number}", group=form.name)


def split_poems(poems: Sequence[str]) -> dict[str, list[str]]:
    """Poems by split, each once: about 85 % for training, a twentieth for development and a tenth for the test.

    Poems that share a line, such as variants of one another, are in one split, which a hash of the first of them draws.
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
    """All poems: from a file with one in each line, or from the publisher's many with a list each."""
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
                    raise InputError(f"{place}: no poem", 'such as {"paragraphs": ["…，…。", …]}') from None


def _find(root: Path, name: str) -> Path:
    path = find_file(root / name)
    if path is None:
        raise NotFoundError(f"{root} holds no {name}")
    return path
