"""Bootstrap intervals and paired significance tests from per-item statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["RESAMPLES", "TRIALS", "Difference", "Interval", "compare", "finite", "intervals", "least_p"]

RESAMPLES = 1000
"""Number of bootstrap resamples for an interval."""

TRIALS = 10_000
"""Number of random assignments for a p-value."""

_BLOCK = 1 << 22  # random numbers drawn at a time: 32 MiB
_PERCENTILES = (2.5, 97.5)

Matrix = NDArray[np.float64]
Score = Callable[[Matrix, int], Mapping[str, Matrix]]


@dataclass(frozen=True)
class Interval:
    """A score with its 95 % interval over resampled items; ``low`` and ``high`` are None if no interval was requested.

    A score to which no item contributes is NaN. NaN and infinity are null in JSON.
    """

    value: float
    low: float | None = None
    high: float | None = None

    def as_json(self) -> dict[str, Any]:
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {name: finite(number) for name, number in numbers.items()}


@dataclass(frozen=True)
class Difference(Interval):
    """The second system's score minus the first's on the same items, and the p-value of no difference."""

    p: float = 1.0

    def as_json(self) -> dict[str, Any]:
        return {**super().as_json(), "p": finite(self.p)}


def finite(number: float | None) -> float | None:
    """The number; None for NaN and infinity, which JSON can't represent."""
    return number if number is not None and math.isfinite(number) else None


def intervals(score: Score, statistics: Matrix, *, seed: int, resamples: int = RESAMPLES) -> dict[str, Interval]:
    """Every score of a set with its percentile bootstrap interval.

    Args:
        score: ``Metric.score``.
        statistics: (items, k) statistics of at least one item.
        seed: seed of the resampling.
        resamples: number of resamples; 0: no intervals.
    """
    n = len(statistics)
    values = score(statistics.sum(0), n)
    if not resamples:
        return {key: Interval(float(value)) for key, value in values.items()}
    bounds = _bounds(score(_resample(statistics, seed, resamples), n))
    return {key: Interval(float(value), *bounds[key]) for key, value in values.items()}


def compare(
    score: Score, first: Matrix, second: Matrix, *, seed: int, resamples: int = RESAMPLES, trials: int = TRIALS
) -> dict[str, Difference]:
    """Paired comparison of two systems on the same items.

    The interval is a bootstrap interval, with both systems scored on the same resampled items. The p-value is that of
    approximate randomisation (Noreen 1989): the share of random swaps of the two outputs, item by item, that give a
    difference at least as large.

    Args:
        score: ``Metric.score``.
        first, second: (items, k) statistics of the same items in the same order.
        seed: seed of resampling and randomisation.
        resamples: number of bootstrap resamples.
        trials: number of random assignments.
    """
    n = len(first)
    values = _less(score(second.sum(0), n), score(first.sum(0), n))
    resampled = _less(score(_resample(second, seed, resamples), n), score(_resample(first, seed, resamples), n))
    bounds = _bounds(resampled)

    change = _swap_at_random(second - first, seed, trials)
    random = _less(score(second.sum(0) - change, n), score(first.sum(0) + change, n))
    # rounding errors must not make an equal difference smaller
    p = {key: _share(np.abs(random[key]), abs(float(value)) - 1e-9) for key, value in values.items()}
    return {key: Difference(float(value), *bounds[key], p[key]) for key, value in values.items()}


def least_p(n: int) -> float:
    """The smallest p-value that ``n`` items can give: half of all assignments mirror the other half."""
    return float(2.0 ** (1 - n))


def _share(values: Matrix, least: float) -> float:
    """The share of values of at least ``least``, with the observed value counted among them; NaN is left out."""
    if math.isnan(least):
        return math.nan
    return float(((values >= least).sum() + 1) / (len(values) - np.isnan(values).sum() + 1))


def _less(minuend: Mapping[str, Matrix], subtrahend: Mapping[str, Matrix]) -> dict[str, Matrix]:
    with np.errstate(invalid="ignore"):  # both infinite: not a number
        return {key: minuend[key] - subtrahend[key] for key in minuend}


def _bounds(scores: Mapping[str, Matrix]) -> dict[str, tuple[float, float]]:
    """Percentiles over the resamples with a finite score."""
    bounds = {}
    for key, values in scores.items():
        defined = values[np.isfinite(values)]
        low, high = np.percentile(defined, _PERCENTILES) if len(defined) else (math.nan, math.nan)
        bounds[key] = (float(low), float(high))
    return bounds


def _resample(statistics: Matrix, seed: int, resamples: int) -> Matrix:
    """Sums (resamples, k) of the statistics over items drawn with replacement."""
    generator = np.random.default_rng(seed)
    n = len(statistics)

    def counts(rows: int) -> Matrix:
        drawn = generator.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        return np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)

    return np.concatenate([counts(rows) @ statistics for rows in _blocks(resamples, n)])


def _swap_at_random(difference: Matrix, seed: int, trials: int) -> Matrix:
    """Sums (trials, k) of the differences over random subsets of the items."""
    generator = np.random.default_rng(seed)
    n = len(difference)
    coins = (generator.integers(2, size=(rows, n)).astype(np.float64) for rows in _blocks(trials, n))
    return np.concatenate([coin @ difference for coin in coins])


def _blocks(rows: int, columns: int) -> Iterator[int]:
    """Sizes of blocks of rows that fit into memory."""
    size = max(1, _BLOCK // columns)
    for start in range(0, rows, size):
        yield min(size, rows - start)
