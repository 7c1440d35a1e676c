"""Agreement of attention with the sentences annotated as supporting an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from condgen_cli.metrics import Metric

if TYPE_CHECKING:
    from condgen_cli.generation import Generation
    from condgen_cli.item import Item

__all__ = ["HOPS", "FactRecall"]

HOPS = 3
"""Hops with a score of their own."""


class FactRecall(Metric):
    """Recall at k of supporting facts, percent: the share of an item's k facts among its k most attended sentences.

    ``fact_recall`` ranks sentences by their largest weight in any hop, ``fact_recall_1`` and so on by their weight in one hop.
    Items without facts and hops that the model lacks don't count. A fact that isn't in the memory is a miss.

    Statistics: for each key the sum of recalls and the number of items.
    """

    keys = ("fact_recall", *(f"fact_recall_{hop}" for hop in range(1, HOPS + 1)))
    signature = "facts:recall@k"
    reads_attention = True

    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        rows = [_row(item, one) for item, one in zip(items, generations, strict=True)]
        return np.array(rows, np.float64).reshape(len(rows), 2 * len(self.keys))

    def score(self, totals: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
        found, count = totals[..., 0::2], totals[..., 1::2]
        recall = 100 * np.divide(found, count, out=np.full_like(found, np.nan), where=count > 0)
        return {key: recall[..., column] for column, key in enumerate(self.keys)}

    def remarks(self, items: Sequence[Item], totals: NDArray[np.float64]) -> dict[str, str]:
        if not any(item.meta.get("facts") for item in items):
            return dict.fromkeys(self.keys, "no item has supporting facts")
        counts = zip(self.keys, totals[1::2], strict=True)
        return {key: "the model has no such hop" for key, count in counts if not count}


def _row(item: Item, generation: Generation) -> list[float]:
    row = [0.0] * (2 + 2 * HOPS)
    facts, map = item.meta.get("facts", ()), generation.attention.get("attention")
    if not facts or map is None:
        return row
    # the memory holds the latest sentences; the condition may be gone by now, so meta has the story's length
    first = item.meta["sentences"] - map.weights.shape[1]
    ranked = [map.weights.max(0), *map.weights[:HOPS]]
    for key, weights in enumerate(ranked):
        attended = np.argsort(-weights, kind="stable")[: len(facts)] + first
        row[2 * key : 2 * key + 2] = [len(set(facts) & set(attended.tolist())) / len(facts), 1.0]
    return row
