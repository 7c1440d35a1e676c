"""Signs that an output is worth little: it repeats itself, or the model can hardly read, or hear, what it was given."""

from __future__ import annotations

import numpy as np

__all__ = ["repetition", "unread_doubt"]

LONGEST = 120
"""Characters that a part which is repeated may have."""
PHRASE = 12
"""Characters from which on a part is a phrase, of which three in a row are no style."""
TIMES, PHRASES = 5, 3
"""How often in a row a part is written, or a phrase, before that is a loop."""
SHORTEST = 12
"""Characters that a loop has at least: a thousand is no loop of zeros."""
_SHOWN = 24


def repetition(text: str) -> str | None:
    """What a text repeats over and over, such as ``un`` of ``un un un un un``, cut to fit a line; None if nothing."""
    # the last of "so so so so so" is one of them, though no blank follows
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
    """What is to be doubted (``Generation.doubt``) where a model can't read so many of a text's characters; empty where it can
    read half of them."""
    if 2 * unread <= characters:
        return ""
    return f"a guess: the model can read {characters - unread} of {characters} characters"


def _longest_run(same: np.ndarray) -> tuple[int, int]:
    """Where the longest run of True begins, and its length."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return 0, 0
    best = int((ends - starts).argmax())
    return int(starts[best]), int(ends[best] - starts[best])
