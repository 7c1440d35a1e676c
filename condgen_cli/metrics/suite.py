"""Several metrics as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from condgen_cli.errors import InputError
from condgen_cli.generation import Generation
from condgen_cli.metrics import Metric
from condgen_cli.specs import MetricSpec, named, resolve

if TYPE_CHECKING:
    from condgen_cli.model import Item

__all__ = ["Suite", "build_suite"]


class Suite:
    """Metrics side by side: their statistics are columns of one matrix, so that a resampling serves them all.

    Args:
        metrics: the families.
        keys: which of their scores to report, in order.
    """

    def __init__(self, metrics: Sequence[Metric], keys: Iterable[str]) -> None:
        self.metrics = tuple(metrics)
        self.keys = tuple(keys)
        self._columns: list[int] = []

    @property
    def signature(self) -> str:
        """The families' signatures; if they differ, each behind the keys it speaks of: ``bleu4[case:…]|wer[case:…]``."""
        keys_of: dict[str, list[str]] = {}
        for metric in self.metrics:
            keys_of.setdefault(metric.signature, []).extend(key for key in self.keys if key in metric.keys)
        if len(keys_of) == 1:
            return next(iter(keys_of))
        return "|".join(f"{','.join(keys)}[{signature}]" for signature, keys in keys_of.items())

    @property
    def item_key(self) -> str:
        """The score that ranks single items: the last reported that means something for one item, else the last."""
        telling = {getattr(metric, "item_key", "") for metric in self.metrics}
        return next((key for key in reversed(self.keys) if key in telling), self.keys[-1])

    @property
    def lower_is_better(self) -> bool:
        """Whether a high value of ``item_key`` is bad."""
        metric = next(metric for metric in self.metrics if self.item_key in metric.keys)
        return bool(getattr(metric, "lower_is_better", False))

    @property
    def reads_attention(self) -> bool:
        """Whether a metric needs the generations' attention."""
        return any(getattr(metric, "reads_attention", False) for metric in self.metrics)

    @property
    def reads_likelihood(self) -> bool:
        """Whether a metric needs the log-probabilities of references."""
        return any(getattr(metric, "reads_likelihood", False) for metric in self.metrics)

    @property
    def reads_output(self) -> bool:
        """Whether a metric looks at what is written; if none does, nothing need be."""
        return any(getattr(metric, "reads_output", True) for metric in self.metrics)

    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        """(items, k of all families).

        Raises:
            InputError: if an item has no reference.
        """
        for item in items:
            if not item.references:
                raise InputError(f"item {item.id} has no reference to score against")
        parts = [metric.statistics(items, generations) for metric in self.metrics]
        self._columns = [part.shape[1] for part in parts]
        return np.concatenate(parts, axis=1)

    def score(self, totals: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
        """Scores by key; to be called after ``statistics``, which learns the families' numbers of columns."""
        scores: dict[str, NDArray[np.float64]] = {}
        parts = np.split(totals, np.cumsum(self._columns)[:-1], axis=-1)
        for metric, part in zip(self.metrics, parts, strict=True):
            scores.update(metric.score(part, n))
        return {key: scores[key] for key in self.keys}


def build_suite(keys: Sequence[str], specs: Mapping[str, MetricSpec]) -> Suite:
    """The metrics that ``keys`` name; ``specs`` by key, as in ``condgen_cli.plugins.manager().metrics``.

    Raises:
        NotFoundError: if there is no such metric; near names are offered.
    """
    keys = tuple(dict.fromkeys(keys))
    chosen = dict.fromkeys(named(specs, "metric", key) for key in keys)
    return Suite([resolve(spec.build)() for spec in chosen], keys)
