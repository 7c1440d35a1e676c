"""Faithfulness: how fast a token's log-probability falls as the positions that a map calls important are removed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from condgen_cli.explain.removal import Removal

__all__ = ["Curves", "Importances", "Judge"]

Importances = NDArray[np.float64]

DRAWS = 20
"""Number of random orders."""
LEVELS = 11
"""Largest number of equal shares in which positions are removed; odd, so that no share is its own complement."""
GROUP = 4
"""Number of tokens whose curves are computed together, up to the last of them."""
MOST_TOKENS = 12
"""Largest number of tokens of an output whose curves are computed, evenly chosen."""


class Curves(NamedTuple):
    """The areas of the curves of n tokens of an output, each the mean log-probability in nats over the shares of positions that
    are removed or inserted (Petsiuk et al. 2018, "RISE", section 4.2, with log-probability for probability).

    Args:
        deletion: (n,) positions are removed from the most to the least important.
        insertion: (n,) positions are inserted from the most to the least important.
        random: (n,) positions are removed in random order, mean of 20 orders.
        whole: (n,) log-probability with the whole memory.
        empty: (n,) log-probability with no position left.
        span: (n,) the highest less the lowest log-probability with all positions, with none, and along the random orders: how
            much the memory can do to the token.
    """

    deletion: NDArray[np.float64]
    insertion: NDArray[np.float64]
    random: NDArray[np.float64]
    whole: NDArray[np.float64]
    empty: NDArray[np.float64]
    span: NDArray[np.float64]


class Judge:
    """Measures curves of maps of one output; what they share, random orders and the ends, is computed once.

    What is left when the most important positions are removed first, and what is there when they are inserted first, are
    complements: so the sizes of what remains are the same in both, and in random order both areas are equal on average.

    Args:
        removal: the model, its input and its output.
        steps: number T of the output's tokens, at least one.
        seed: seed of the random orders.
    """

    def __init__(self, removal: Removal, steps: int, seed: int = 0) -> None:
        self.removal = removal
        self.tokens = np.unique(np.linspace(0, steps - 1, min(steps, MOST_TOKENS)).round().astype(int))
        self.sizes = _sizes(removal.count)
        self._generator = np.random.default_rng(seed)
        drawn = [_removed(self._generator.permutation(removal.count), self.sizes) for _ in range(DRAWS)]
        ends = np.stack([np.zeros(removal.count, bool), np.ones(removal.count, bool)])
        found = removal.log_probs(np.concatenate([ends, *drawn]))[:, self.tokens]
        self._whole, self._empty = found[:2]
        self._span = found.max(0) - found.min(0)
        self._random = found[2:].mean(0) if self.sizes else self._whole

    def curves(self, importance: Importances) -> Curves:
        """The curves of at most ``MOST_TOKENS`` tokens.

        Args:
            importance: (T, positions), the higher the more important; equal importances are ordered at random.
        """
        if not self.sizes:
            return Curves(self._whole, self._whole, self._whole, self._whole, self._empty, self._span)
        groups = np.array_split(self.tokens, -(-len(self.tokens) // GROUP))
        areas = np.concatenate([self._areas(importance, tokens) for tokens in groups])
        return Curves(areas[:, 0], areas[:, 1], self._random, self._whole, self._empty, self._span)

    def _areas(self, importance: Importances, tokens: NDArray[np.intp]) -> NDArray[np.float64]:
        """The areas (tokens, 2) below the deletion and the insertion curves of some tokens, in order."""
        hidden = []
        for token in tokens:
            order = np.lexsort([self._generator.random(importance.shape[1]), -importance[token]])
            hidden += [_removed(order, self.sizes), _removed(order[::-1], self.sizes)]
        found = self.removal.log_probs(np.concatenate(hidden), int(tokens[-1]) + 1)
        curves = found.reshape(len(tokens), 2, len(self.sizes), -1)
        return np.stack([curves[row, :, :, token].mean(1) for row, token in enumerate(tokens)])


def _sizes(count: int) -> list[int]:
    """Numbers of positions to remove, from one share to all but one; with each its complement."""
    levels = min(count, LEVELS)
    half = [round(level * count / levels) for level in range(1, levels // 2 + 1)]
    return sorted({*half, *(count - size for size in half)})


def _removed(order: NDArray[np.intp], sizes: list[int]) -> NDArray[np.bool_]:
    """For each size (sizes, positions), True for that many positions of the beginning of an order."""
    rank = np.empty(len(order), int)
    rank[order] = np.arange(len(order))
    return rank < np.array(sizes)[:, None]
