"""Faithfulness of maps: whether removing what a map calls important changes the output's probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from condgen_cli.metrics import Metric

if TYPE_CHECKING:
    from condgen_cli.generation import Generation
    from condgen_cli.item import Item

__all__ = ["Faithfulness"]


class Faithfulness(Metric):
    """Areas between the deletion and insertion curves of the maps of a model's own outputs (``condgen_cli.explain.curves``).

    For each token, positions are removed from the most to the least important, with area D below its log-probability, and
    inserted in the same order, with area I; in random order, the mean of 20, the area is R. S is the span of log-probabilities
    that are met along the random orders, from all positions to none. Sums run over all tokens, so that those count most that
    depend on the input:

    * ``faithfulness``: Σ (I − D) / Σ S: 1 if one position alone matters and the map's strongest is that one, 0 for a map in
      random order, below 0 for one that calls important what isn't;
    * ``faithfulness_deletion``, ``faithfulness_insertion``: its parts, Σ (R − D) / Σ S and Σ (I − R) / Σ S;
    * ``faithfulness_nats``: mean of I − D over the tokens, in nats;
    * ``evidence``: what the memory is worth to a token: the mean of its log-probability with the whole memory less that
      without it, in nats.

    Statistics: Σ (R − D), Σ (I − R), Σ S, the evidence, the number of tokens.
    """

    keys = ("faithfulness", "faithfulness_deletion", "faithfulness_insertion", "faithfulness_nats", "evidence")
    signature = "curves:log-prob,shares=11,tokens=12,draws=20"
    item_key = "faithfulness"
    reads_curves = True

    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        rows = np.zeros((len(generations), 5))
        for row, generation in zip(rows, generations, strict=True):
            for curves in generation.curves.values():
                row += [
                    (curves.random - curves.deletion).sum(),
                    (curves.insertion - curves.random).sum(),
                    curves.span.sum(),
                    (curves.whole - curves.empty).sum(),
                    len(curves.whole),
                ]
        return rows

    def score(self, totals: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
        deletion, insertion, span, evidence, tokens = np.moveaxis(totals, -1, 0)
        # of outputs that don't depend on the memory, no map is faithful
        span = np.where(span > 0, span, np.nan)
        count = np.where(tokens > 0, tokens, np.nan)
        both = deletion + insertion
        found = (both / span, deletion / span, insertion / span, both / count, evidence / count)
        return dict(zip(self.keys, found, strict=True))

    def remarks(self, items: Sequence[Item], totals: NDArray[np.float64]) -> dict[str, str]:
        return {} if totals[2] > 0 else dict.fromkeys(self.keys[:3], "the outputs don't depend on the memory")
