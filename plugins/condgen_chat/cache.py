"""Cache of a dialogue: for each of its tokens, the decoder's output vector at the step that predicts it."""

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
"""Least share of a step's probability for which a word gets a column in the map."""


class Entries(NamedTuple):
    """See ``condgen_cli.nn.CACHE``.

    Args:
        keys: (rows, positions, size) output vectors.
        tokens: (rows, positions) token ids.
        mask: (rows, positions), False at padding.
    """

    keys: Tensor
    tokens: Tensor
    mask: Tensor


def join_entries(parts: Sequence[Entries], most: int) -> Entries:
    """Concatenate entries, padding first; only the last ``most`` real ones of a row are kept."""
    mask = torch.cat([part.mask for part in parts], 1)
    order = find_last_real(mask, most)
    keys = torch.cat([part.keys for part in parts], 1)
    tokens = torch.cat([part.tokens for part in parts], 1)
    rows = torch.arange(len(mask), device=mask.device).unsqueeze(1)
    return Entries(keys[rows, order], tokens[rows, order], mask[rows, order])


def find_last_real(mask: Tensor, most: int) -> Tensor:
    """Positions (rows, n) of the last ``most`` True entries of each row of a mask (rows, positions), in order, right-aligned.

    n is the number that the longest row needs; shorter rows begin with positions of padding.
    """
    needed = min(most, max(1, int(mask.sum(1).max())))
    return mask.int().argsort(dim=1, stable=True)[:, -needed:]


def entries_of(memory: Memory) -> Entries:
    """The cache entries of a memory."""
    return Entries(*(memory.auxiliary[name] for name in CACHE))


def with_entries(memory: Memory, entries: Entries) -> Memory:
    """The memory with other cache entries."""
    return replace(memory, auxiliary={**memory.auxiliary, **dict(zip(CACHE, entries, strict=True))})


def make_cache_map(shares: NDArray[np.float32], steps: Axis, words: Sequence[str]) -> dict[str, AttentionMap]:
    """The map ``cache``: the share of each step's probability that comes from each word of the dialogue.

    Words whose share is below 0.01 at every step are left out; without any word there is no map.

    Args:
        shares: (steps, positions) shares, right-aligned with ``words``.
        steps: axis of the steps.
        words: tokens of the dialogue.
    """
    count = min(len(words), shares.shape[1])
    shares, words = shares[:, shares.shape[1] - count :], words[len(words) - count :]
    chosen = np.flatnonzero((shares >= SHOWN).any(0)).tolist()
    if not chosen:
        return {}
    places = Axis("word", "tokens", tuple(words[place] for place in chosen))
    return {"cache": AttentionMap(shares[:, chosen], (steps, places))}
