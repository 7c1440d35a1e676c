"""Suggestions of similar names for one that doesn't exist."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["near_names", "suggestion"]

MOST_NAMES = 60
"""Largest number of names in a hint."""


def near_names(name: str, names: Iterable[str]) -> list[str]:
    """The at most three names most similar to ``name``, most similar first, ignoring case."""
    import difflib

    of_folded: dict[str, list[str]] = {}
    for known in names:
        of_folded.setdefault(known.casefold(), []).append(known)
    near = difflib.get_close_matches(name.casefold(), of_folded, 3)
    return [known for folded in near for known in of_folded[folded]][:3]


def suggestion(name: str, names: Iterable[str], otherwise: str | None = None) -> str | None:
    """A hint for a name that is not among ``names``: similar ones.

    Args:
        otherwise: hint if none is similar; None: list the names, if there are any.
    """
    known = list(names)
    if near := near_names(name, known):
        return f"did you mean: {', '.join(near)}"
    if otherwise or not known:
        return otherwise
    more = f" and {len(known) - MOST_NAMES} more" if len(known) > MOST_NAMES else ""
    return f"known: {', '.join(known[:MOST_NAMES])}{more}"
