"""Nouns of captions that name a class of COCO's boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

__all__ = ["Mention", "find_mentions"]


class Mention(NamedTuple):
    """A noun in a sentence.

    Args:
        start, end: indices of its first word and behind its last one.
        classes: names of the classes that it may mean: *bike* is a bicycle or a motorcycle.
    """

    start: int
    end: int
    classes: frozenset[str]


def find_mentions(words: Sequence[str]) -> list[Mention]:
    """The nouns of a sentence's lower-case words that name a class, in order and without overlap.

    Of names that begin at the same word the longest counts, so a *hot dog* is no dog, and neither is a *bus stop* a bus.
    """
    names, longest = _names()
    found, start = [], 0
    while start < len(words):
        sizes = range(min(longest, len(words) - start), 0, -1)
        size = next((size for size in sizes if tuple(words[start : start + size]) in names), 0)
        if size and (classes := names[tuple(words[start : start + size])]):
            found.append(Mention(start, start + size, classes))
        start += max(size, 1)
    return found


@cache
def _names() -> tuple[Mapping[tuple[str, ...], frozenset[str]], int]:
    """Classes by the words of a name, plurals included (none: the phrase names no class), and the longest name's length."""
    classes: dict[tuple[str, ...], set[str]] = {}
    for name, synonyms in _lines():
        for synonym in synonyms if name == "-" else (name, *synonyms):
            for form in (synonym, _plural(synonym)):
                classes.setdefault(tuple(form.split()), set()).update(() if name == "-" else (name,))
    return {words: frozenset(found) for words, found in classes.items()}, max(map(len, classes))


def _plural(name: str) -> str:
    if name.endswith("y") and name[-2] not in "aeiou":
        return f"{name[:-1]}ies"
    return f"{name}es" if name.endswith(("s", "x", "sh", "ch")) else f"{name}s"


def _lines() -> list[tuple[str, list[str]]]:
    text = files("condgen_caption").joinpath("objects.txt").read_text(encoding="utf-8")
    pairs = (line.split(":") for line in text.splitlines() if line and not line.startswith("#"))
    return [(name, [synonym.strip() for synonym in synonyms.split(",") if synonym.strip()]) for name, synonyms in pairs]
