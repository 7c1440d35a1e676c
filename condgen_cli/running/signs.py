"""Signs of a bad output: it loops, or the model can read little of its input."""

from __future__ import annotations

import numpy as np

__all__ = ["repetition", "unread_doubt"]

LONGEST = 120
"""Longest repeated part that is looked for, in characters."""
PHRASE = 12
"""Length in characters from which on a repeated part counts as a phrase."""
TIMES, PHRASES = 5, 3
"""Repetitions in a row that make a loop: of a short part, and of a phrase."""
SHORTEST = 12
"""Shortest loop, in characters; the zeros of a number are no loop."""
_SHOWN = 24


def repetition(text: str) -> str | None:
    """The part that a text repeats in a loop, such as ``un`` in ``un un un un un``, shortened to fit a line; None if there is
    none."""
    # a trailing space, so that the last "so" of "so so so so so" counts too
    codes = np.frombuffer(f" {' '.join(text.split())} ".encode("utf-32-le", "surrogatepass"), np.uint32)
    for period in range(1, min(LONGEST, len(codes) // PHRASES) + 1):
        first, length = _longest_run(codes[period:] == codes[:-period])
        whole = length + period
        if whole >= SHORTEST and whole >= period * (PHRASES if period >= PHRASE else TIMES):
            part = codes[first : first + period].tobytes().decode("utf-32-le", "surrogatepass").strip()
            if part:
                return part if len(part) <= _SHOWN else f"{part[: _SHOWN - 1]}…"
    return None


def unread_doubt(unread: int, characters: int) -> str:
    """The doubt (``Generation.doubt``) about a text of which a model can't read ``unread`` of ``characters`` characters; empty
    if it can read at least half."""
    if 2 * unread <= characters:
        return ""
    return f"a guess: the model can read {characters - unread} of {characters} characters"


def _longest_run(same: np.ndarray) -> tuple[int, int]:
    """Start and length of the longest run of True in a boolean array (n,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return 0, 0
    best = int((ends - starts).argmax())
    return int(starts[best]), int(ends[best] - starts[best])
