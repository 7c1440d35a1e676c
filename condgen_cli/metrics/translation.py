"""Translation metrics by sacreBLEU, with its signature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from condgen_cli.generation import Generation

if TYPE_CHECKING:
    from condgen_cli.model import Item

__all__ = ["SacreBleu", "bleu", "chrf"]


class SacreBleu:
    """A metric of sacreBLEU through the two methods that its own significance tests use.

    Statistics: as sacreBLEU's. Output and references are detokenised text; sacreBLEU tokenises.
    """

    def __init__(self, key: str, metric: BLEU | CHRF, item_key: str = "") -> None:
        self.keys = (key,)
        self.item_key = item_key
        self._metric = metric

    @property
    def signature(self) -> str:
        # sacreBLEU counts references when it scores; a report's signature counts them for all metrics
        self._metric.num_refs = 1
        return str(self._metric.get_signature()).removeprefix("nrefs:1|")

    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        if not items:
            return np.zeros((0, len(self._statistics([""], [("",)])[0])))
        return np.array(self._statistics([g.output for g in generations], [item.references for item in items]), np.float64)

    def _statistics(self, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> list[list[int]]:
        most = max(map(len, references))
        streams = [[row[index] if index < len(row) else None for row in references] for index in range(most)]
        # None stands for a reference that an item lacks: documented, though not in the annotation
        return self._metric._extract_corpus_statistics(outputs, streams)  # type: ignore[arg-type]

    def score(self, totals: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
        rows = totals.reshape(-1, totals.shape[-1]).round().astype(int)
        values = [self._metric._aggregate_and_compute([row.tolist()]).score for row in rows]
        return {self.keys[0]: np.array(values).reshape(totals.shape[:-1])}


def bleu() -> SacreBleu:
    # force: the user who scores tokenised text has been told by the signature
    return SacreBleu("bleu", BLEU(force=True))


def chrf() -> SacreBleu:
    return SacreBleu("chrf", CHRF(), item_key="chrf")
