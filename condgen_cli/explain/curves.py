"""Faithfulness: how fast a token's log-probability falls as the positions that a map calls important are removed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from condgen_cli.explain.removal import Removal

__all__ = ["Curves", "Importances", "measure"]

Importances = NDArray[np.float64]

DRAWS = 20
"""Number of random orders."""
LEVELS = 11
"""Largest number of equal shares in which positions are removed; odd, so that no share is its own complement."""
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
    """

    deletion: NDArray[np.float64]
    insertion: NDArray[np.float64]
    random: NDArray[np.float64]
    whole: NDArray[np.float64]
    empty: NDArray[np.float64]


def measure(removal: Removal, importance: Importances, seed: int = 0) -> Curves:
    """The curves of a map.

    What is left when the most important positions are removed first, and what is there when they are inserted first, are
    complements: so the sizes of what remains are the same in both, and in random order both areas are equal on average.

    Args:
        removal: the model, its input and its output of T tokens.
        importance: (T, positions), the higher the more important; equal importances are ordered at random.
        seed: seed of the random orders.
    Returns:
        the curves of at most ``MOST_TOKENS`` tokens.
    """
    generator = np.random.default_rng(seed)
    steps, count = importance.shape
    tokens = np.unique(np.linspace(0, steps - 1, min(steps, MOST_TOKENS)).round().astype(int))
    ends = removal.log_probs(np.stack([np.zeros(count, bool), np.ones(count, bool)]))[:, tokens]
    sizes = _sizes(count)
    if not len(sizes):
        return Curves(ends[0], ends[0], ends[0], ends[0], ends[1])
    drawn = np.concatenate([_removed(generator.permutation(count), sizes) for _ in range(DRAWS)])
    random = removal.log_probs(drawn)[:, tokens].mean(0)
    areas = np.array([*_areas(removal, importance, tokens, sizes, generator)]).T
    return Curves(areas[0], areas[1], random, *ends)


def _areas(
    removal: Removal, importance: Importances, tokens: NDArray[np.intp], sizes: list[int], generator: np.random.Generator
) -> Iterator[tuple[float, float]]:
    """For each token the areas below its deletion and its insertion curve."""
    for token in tokens:
        order = np.lexsort([generator.random(importance.shape[1]), -importance[token]])
        hidden = np.concatenate([_removed(order, sizes), _removed(order[::-1], sizes)])
        found = removal.log_probs(hidden, int(token) + 1)[:, -1]
        yield float(found[: len(sizes)].mean()), float(found[len(sizes) :].mean())


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
