"""Texts to learn from: one long text in segments, and Tang poems in regular forms."""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Iterator, Sequence
from pathlib import Path

from condgen_cli.errors import InputError, NotFoundError, UsageError
from condgen_cli.files import protect
from condgen_cli.item import Item
from condgen_generate.prompt import Prompt
from condgen_generate.verse import form_of, lines_of, normalised

__all__ = [
    "CONTEXT",
    "SEGMENT",
    "SPLITS",
    "chinese_poetry",
    "read_text",
    "segments",
    "split_poems",
    "text_file",
    "tinyshakespeare",
]

SPLITS = ("train", "dev", "test")
SEGMENT = 1000
"""Characters of a segment."""
CONTEXT = 1000
"""Characters before it that a model reads first."""

_SHAKESPEARE = ("input.txt", "input.txt.xz")
_TANG = ("tang_poems.jsonl", "tang_poems.jsonl.xz")
_TANG_PARTS = "**/poet.tang.*.json"
"""As the publisher has them."""


def tinyshakespeare(root: Path, split: str) -> Iterator[Item]:
    """Shakespeare's plays in segments; see ``segments``.

    Raises:
        NotFoundError: if the file isn't there.
        InputError: if it can't be read.
    """
    return segments(read_text(_first(root, _SHAKESPEARE)), split)


def text_file(root: Path, split: str, file: str = "input.txt") -> Iterator[Item]:
    """A text of the user's own, or several that follow one another in the order of their names; see ``segments``.

    Args:
        file: a name or a pattern below the folder; files that end in .xz are unpacked.
    Raises:
        UsageError: if the pattern isn't a relative one.
        NotFoundError: if there is no such file.
        InputError: if one can't be read, or all are empty.
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
        InputError: if it can't be read.
    """
    poems = split_poems([poem for poem in map(normalised, _poems(root)) if poem])[split]
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
        splits[_drawn(poems[find(number)])].append(poem)
    return splits


def _drawn(text: str) -> str:
    twentieth = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 20
    return {17: "dev", 18: "test", 19: "test"}.get(twentieth, "train")


def _poems(root: Path) -> Iterator[str]:
    """All poems: from a file with one in each line, or from the publisher's many with a list each."""
    parts = sorted(root.glob(_TANG_PARTS))
    for path in parts or [_first(root, _TANG)]:
        text = read_text(path)
        for number, document in enumerate([text] if parts else text.split("\n"), 1):
            if document.strip():
                try:
                    poems = json.loads(document)
                    yield from ("".join(map(str, poem["paragraphs"])) for poem in (poems if parts else [poems]))
                except (ValueError, KeyError, TypeError, RecursionError):
                    place = path if parts else f"{path}:{number}"
                    raise InputError(f"{place}: no poem", 'such as {"paragraphs": ["…，…。", …]}') from None


def _first(root: Path, names: Sequence[str]) -> Path:
    for name in names:
        if (root / name).is_file():
            return root / name
    raise NotFoundError(f"{root} holds no {names[0]}")


def read_text(path: Path) -> str:
    """A text file in UTF-8; one that ends in .xz is unpacked.

    Raises:
        NotFoundError: if there is no such file.
        InputError: if it is damaged or isn't UTF-8.
    """
    protect(path)
    try:
        if path.suffix == ".xz":
            with lzma.open(path) as file:
                data = file.read()
        else:
            data = path.read_bytes()
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start + 1})") from None
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path}") from None
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise InputError(f"{path} can't be read: {error}") from None
