"""Scores of one system on one set, with what makes them comparable."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from condgen_cli import __version__
from condgen_cli.metrics.significance import Difference, Interval, Matrix, intervals
from condgen_cli.metrics.suite import Suite
from condgen_cli.sources import natural

if TYPE_CHECKING:
    from condgen_cli.model import Item

__all__ = ["Report", "difference_cells", "interval_cell", "interval_range", "report"]


@dataclass(frozen=True)
class Report:
    """Scores of one system.

    Args:
        n: number of items.
        metrics: by key.
        signature: what makes them comparable.
        groups: the same of each part of the set: (n, metrics) by name, in natural order.
    """

    n: int
    metrics: Mapping[str, Interval]
    signature: str
    groups: Mapping[str, tuple[int, Mapping[str, Interval]]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        groups = {name: {"n": n, "metrics": _as_json(metrics)} for name, (n, metrics) in self.groups.items()}
        document = {"n": self.n, "metrics": _as_json(self.metrics), "signature": self.signature}
        return {**document, "groups": groups} if groups else document


def _as_json(metrics: Mapping[str, Interval]) -> dict[str, Any]:
    return {key: interval.as_json() for key, interval in metrics.items()}


def report(
    suite: Suite,
    items: Sequence[Item],
    statistics: Matrix,
    *,
    seed: int,
    resamples: int,
    split: str = "",
    weights: Mapping[str, float] = MappingProxyType({}),
) -> Report:
    """Score a set and the groups that its items name.

    Args:
        suite: what computed ``statistics``.
        items: at least one.
        statistics: (items, k).
        resamples: of the bootstrap; 0: no intervals.
        split: of the data set, for the signature.
        weights: of the scorers that decoded beside the model, for the signature, where they aren't the model's own.
    """

    def scored(rows: Matrix) -> dict[str, Interval]:
        return intervals(suite.score, rows, seed=seed, resamples=resamples)

    rows_of: dict[str, list[int]] = {}
    for row, item in enumerate(items):
        if item.group:
            rows_of.setdefault(item.group, []).append(row)
    groups = {group: (len(rows_of[group]), scored(statistics[rows_of[group]])) for group in sorted(rows_of, key=natural)}
    return Report(len(items), scored(statistics), _signature(suite, items, seed, resamples, split, weights), groups)


def _signature(suite: Suite, items: Sequence[Item], seed: int, resamples: int, split: str, weights: Mapping[str, float]) -> str:
    counts = {len(item.references) for item in items}
    parts = [f"nrefs:{counts.pop() if len(counts) == 1 else 'var'}", suite.signature]
    if split:
        parts.append(f"split:{split}")
    parts.append(f"n:{len(items)}")
    if weights:
        parts.append("weights:" + ",".join(f"{name}={weights[name]:g}" for name in sorted(weights)))
    if resamples:
        parts += [f"bs:{resamples}", f"seed:{seed}"]
    return "|".join([*parts, f"condgen:{__version__}"])


def interval_cell(interval: Interval) -> str:
    """A score and half the width of its interval, to the digits that this half supports: ``67.8 ±1.2``. Nothing for a score
    that no item bears on.
    """
    if math.isnan(interval.value):
        return ""
    if interval.low is None or interval.high is None:
        return f"{interval.value:.2f}"
    half = (interval.high - interval.low) / 2
    return f"{interval.value:.{_decimals(half)}f} ±{half:.{_decimals(half)}f}"


def interval_range(interval: Interval) -> str:
    """The interval itself, ``[66.6, 69.0]``; nothing if there is none."""
    if interval.low is None or interval.high is None:
        return ""
    decimals = _decimals((interval.high - interval.low) / 2)
    return f"[{interval.low:.{decimals}f}, {interval.high:.{decimals}f}]"


def difference_cells(difference: Difference) -> tuple[str, str, str]:
    """Difference, interval, p-value: ``+1.3``, ``[0.2, 2.5]``, ``0.021``."""
    half = ((difference.high or 0) - (difference.low or 0)) / 2
    p = "<0.001" if difference.p < 0.001 else f"{difference.p:.3f}"
    return f"{difference.value:+.{_decimals(half)}f}", interval_range(difference), p


def _decimals(half: float) -> int:
    """Two digits of ``half`` that aren't leading zeros, at most three decimals."""
    return 2 if half < 0.0005 else min(3, max(0, 1 - math.floor(math.log10(half))))
