"""Bit errors and cross-entropy of written sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from condgen_cli.metrics import Metric
from condgen_ntm.sequences import parse_bits

if TYPE_CHECKING:
    from condgen_cli.generation import Generation
    from condgen_cli.item import Item

__all__ = ["BitErrors"]

SMALLEST = 1e-9
"""Lower bound of a probability: they are reported with nine decimals."""


class BitErrors(Metric):
    """Means over sequences: wrong bits; cross-entropy of the target in bits; the same under the optimal estimator, for items
    with ``meta["optimal_bits"]``.

    Probabilities of ones are read from ``Generation.details["probabilities"]``. Statistics: wrong bits, cross-entropy, optimal
    cross-entropy, number of items that have one.
    """

    keys = ("bit_errors", "bits_per_sequence", "optimal_bits_per_sequence")
    signature = "threshold:0.5"
    item_key = "bit_errors"
    lower_is_better = True

    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        rows = [_row(item, one) for item, one in zip(items, generations, strict=True)]
        return np.array(rows, np.float64).reshape(len(rows), 4)

    def score(self, totals: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
        wrong, bits, optimal, count = np.moveaxis(totals, -1, 0)
        best = np.divide(optimal, count, out=np.full_like(optimal, np.nan), where=count > 0)
        return {"bit_errors": wrong / n, "bits_per_sequence": bits / n, "optimal_bits_per_sequence": best}

    def remarks(self, items: Sequence[Item], totals: NDArray[np.float64]) -> dict[str, str]:
        return {} if totals[3] else {"optimal_bits_per_sequence": "no optimal estimator is known for these items"}


def _row(item: Item, generation: Generation) -> list[float]:
    target = parse_bits(item.references[0])
    chances = np.array(generation.details["probabilities"]).reshape(target.shape)
    right = np.where(target == 1, chances, 1 - chances).clip(SMALLEST)
    optimal = item.meta.get("optimal_bits")
    return [float(((chances > 0.5) != target).sum()), float(-np.log2(right).sum()), optimal or 0.0, float(optimal is not None)]
