"""Accuracy by exact match."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from condgen_cli.generation import Generation
from condgen_cli.metrics import Metric

if TYPE_CHECKING:
    from condgen_cli.item import Item

__all__ = ["Accuracy"]


class Accuracy(Metric):
    """Percentage of outputs that equal one of the references up to white space. Statistics: 1 or 0."""

    keys = ("accuracy", "error")
    signature = "case:mixed|tok:space"
    item_key = "accuracy"

    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        pairs = zip(items, generations, strict=True)
        right = [generation.output.split() in map(str.split, item.references) for item, generation in pairs]
        return np.array(right, np.float64).reshape(-1, 1)

    def score(self, totals: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
        accuracy = 100 * totals[..., 0] / n
        return {"accuracy": accuracy, "error": 100 - accuracy}
