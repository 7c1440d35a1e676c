"""What the cache remembers of a dialogue: for each token written, the decoder's output vector where it was written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from condgen_cli.generation import AttentionMap, Axis
from condgen_cli.model import Memory
from condgen_cli.nn import CACHE

__all__ = ["Entries", "entries_of", "find_last_real", "join_entries", "make_cache_map", "with_entries"]


SHOWN = 0.01
"""Shares that are worth a column."""


class Entries(NamedTuple):
    """See ``condgen_cli.nn.CACHE``.

    Args:
        keys: (rows, positions, size).
        tokens: (rows, positions).
        mask: (rows, positions), True where there is one.
    """

    keys: Tensor
    tokens: Tensor
    mask: Tensor


def join_entries(parts: Sequence[Entries], most: int) -> Entries:
    """Entries one after the other, those that are real moved to the end; of more than so many the last."""
    mask = torch.cat([part.mask for part in parts], 1)
    order = find_last_real(mask, most)
    keys = torch.cat([part.keys for part in parts], 1)
    tokens = torch.cat([part.tokens for part in parts], 1)
    rows = torch.arange(len(mask), device=mask.device).unsqueeze(1)
    return Entries(keys[rows, order], tokens[rows, order], mask[rows, order])


def find_last_real(mask: Tensor, most: int) -> Tensor:
    """(rows, n) positions of a mask (rows, positions): a row's real ones in their order, at the end; of more than so many the
    last. n is what the longest row needs.
    """
    needed = min(most, max(1, int(mask.sum(1).max())))
    return mask.int().argsort(dim=1, stable=True)[:, -needed:]


def entries_of(memory: Memory) -> Entries:
    """The entries of a memory."""
    return Entries(*(memory.auxiliary[name] for name in CACHE))


def with_entries(memory: Memory, entries: Entries) -> Memory:
    """The memory with these entries."""
    return replace(memory, auxiliary={**memory.auxiliary, **dict(zip(CACHE, entries, strict=True))})


def make_cache_map(shares: NDArray[np.float32], steps: Axis, words: Sequence[str]) -> dict[str, AttentionMap]:
    """The map ``cache``: how much of each step's probability comes from which word of the dialogue. Words that never give more
    than a hundredth are left out; if all are, there is no map.

    Args:
        shares: (steps, positions), the last positions being the last words.
    """
    count = min(len(words), shares.shape[1])
    shares, words = shares[:, shares.shape[1] - count :], words[len(words) - count :]
    chosen = np.flatnonzero((shares >= SHOWN).any(0)).tolist()
    if not chosen:
        return {}
    places = Axis("word", "tokens", tuple(words[place] for place in chosen))
    return {"cache": AttentionMap(shares[:, chosen], (steps, places))}
