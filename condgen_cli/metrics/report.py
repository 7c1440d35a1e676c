"""Scores of one system on one set, with the settings that make them comparable."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from condgen_cli import __version__
from condgen_cli.inputs.expansion import natural_key
from condgen_cli.metrics.significance import Difference, Interval, Matrix, intervals
from condgen_cli.metrics.suite import Suite

if TYPE_CHECKING:
    from condgen_cli.generation import Generation
    from condgen_cli.model import Item

__all__ = ["UNDEFINED", "Report", "Setup", "difference_cells", "interval_cell", "interval_range", "report"]

UNDEFINED = "–"
"""Text in place of a score that is NaN or infinite."""


@dataclass(frozen=True)
class Setup:
    """The data and decoding settings of an evaluation: everything beside the metrics that can change a score.

    Args:
        dataset, split: names of the data set and the split.
        options: options of the data set, with defaults.
        limit: maximum number of items; None: no limit.
        decoding: settings from ``condgen_cli.metrics.evaluation.decoding_of``; empty: nothing was decoded.
        explain: the method of explanation whose maps the metrics read; empty: none, or the model's own attention.
    """

    dataset: str
    split: str
    options: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    decoding: Mapping[str, Any] = field(default_factory=dict)
    explain: str = ""

    @property
    def samples(self) -> bool:
        """Whether outputs were sampled."""
        return self.decoding.get("method") == "sample"

    def as_json(self) -> dict[str, Any]:
        explain = {"explain": self.explain} if self.explain else {}
        return {"options": dict(self.options), "limit": self.limit, "decoding": dict(self.decoding) or None, **explain}


@dataclass(frozen=True)
class Report:
    """Scores of one system.

    Args:
        n: number of items.
        metrics: scores by key.
        signature: settings that comparable scores share.
        groups: (n, metrics) of each group of items by name, in natural order.
        setup: data and decoding settings; None: the outputs were given.
        seed: seed of the intervals and of sampling.
        remarks: by key, reasons why scores are NaN or say little.
    """

    n: int
    metrics: Mapping[str, Interval]
    signature: str
    groups: Mapping[str, tuple[int, Mapping[str, Interval]]] = field(default_factory=dict)
    setup: Setup | None = None
    seed: int = 0
    remarks: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {"n": self.n, "metrics": _as_json(self.metrics), "signature": self.signature}
        if self.setup:
            document |= {**self.setup.as_json(), "seed": self.seed}
        if self.groups:
            document["groups"] = {name: {"n": n, "metrics": _as_json(metrics)} for name, (n, metrics) in self.groups.items()}
        if self.remarks:
            document["remarks"] = {key: list(lines) for key, lines in self.remarks.items()}
        return document

    @property
    def undefined_keys(self) -> list[str]:
        """Keys of the scores that are NaN or infinite."""
        return [key for key, interval in self.metrics.items() if not math.isfinite(interval.value)]


def _as_json(metrics: Mapping[str, Interval]) -> dict[str, Any]:
    return {key: interval.as_json() for key, interval in metrics.items()}


def report(
    suite: Suite,
    items: Sequence[Item],
    generations: Sequence[Generation],
    statistics: Matrix,
    *,
    seed: int,
    resamples: int,
    setup: Setup | None = None,
) -> Report:
    """Score a set of items and its groups.

    Args:
        suite: metrics that computed ``statistics``.
        items: the items, at least one.
        generations: generation of each item.
        statistics: (items, k) statistics of the suite.
        seed: seed of the bootstrap and of sampling.
        resamples: number of bootstrap resamples; 0: no intervals.
        setup: data and decoding settings; None: the outputs were given.
    """

    def score_rows(rows: Matrix) -> dict[str, Interval]:
        return intervals(suite.score, rows, seed=seed, resamples=resamples)

    rows_of: dict[str, list[int]] = {}
    for row, item in enumerate(items):
        if item.group:
            rows_of.setdefault(item.group, []).append(row)
    groups = {
        group: (len(rows_of[group]), score_rows(statistics[rows_of[group]])) for group in sorted(rows_of, key=natural_key)
    }
    signature = _signature(suite, items, seed, resamples, setup)
    remarks = suite.remarks(items, generations, statistics)
    if resamples and len(items) == 1:
        alone = "the interval of 1 item has no width, whatever it is"
        remarks = {key: [*remarks.get(key, ()), alone] for key in suite.keys}
    return Report(len(items), score_rows(statistics), signature, groups, setup, seed, remarks)


def _signature(suite: Suite, items: Sequence[Item], seed: int, resamples: int, setup: Setup | None) -> str:
    counts = {len(item.references) for item in items}
    parts = [f"nrefs:{counts.pop() if len(counts) == 1 else 'var'}", suite.signature]
    if setup:
        parts += [f"data:{_plain(setup.dataset)}", f"split:{_plain(setup.split)}"]
        parts += [f"set:{_assignments(dict(sorted(setup.options.items())))}"] if setup.options else []
    parts.append(f"refs:{_digest(items)}")
    if setup and setup.decoding:
        parts.append(f"search:{_assignments(setup.decoding)}")
    if setup and setup.explain:
        parts.append(f"explain:{setup.explain}")
    parts.append(f"n:{len(items)}")
    if resamples:
        parts.append(f"bs:{resamples}")
    if resamples or (setup and setup.samples):
        parts.append(f"seed:{seed}")
    return "|".join([*parts, f"condgen:{__version__}"])


def _assignments(settings: Mapping[str, Any]) -> str:
    """Settings as ``name=value``, separated by commas; nested settings are sorted and named ``outer.inner``."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= {f"{name}.{key}": value[key] for key in sorted(value)} if isinstance(value, Mapping) else {name: value}
    return ",".join(f"{_plain(name)}={_plain(_number(value))}" for name, value in flat.items())


def _number(value: object) -> str:
    """A value as text; equal integers and floats give the same text."""
    return f"{value:.17g}".removesuffix(".0") if isinstance(value, float) and value.is_integer() else str(value)


def _plain(text: str) -> str:
    """Text with the separators of a signature percent-encoded."""
    return re.sub(r"[%|,=\s]", lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), text)


def _digest(items: Sequence[Item]) -> str:
    """Eight hexadecimal digits of a hash over the items' ids and references."""
    sums = hashlib.sha256()
    for item in items:
        sums.update(json.dumps([item.id, *item.references]).encode())
    return sums.hexdigest()[:8]


def interval_cell(interval: Interval) -> str:
    """A score with half the width of its interval, rounded by that width: ``67.8 ±1.2``; a dash for NaN and infinity."""
    if not math.isfinite(interval.value):
        return UNDEFINED
    half = _half(interval)
    if half is None:
        return f"{interval.value:.2f}"
    return f"{interval.value:.{_decimals(half)}f} ±{half:.{_decimals(half)}f}"


def interval_range(interval: Interval) -> str:
    """The interval, ``[66.6, 69.0]``; empty if there is none."""
    half = _half(interval)
    if half is None:
        return ""
    decimals = _decimals(half)
    return f"[{interval.low:.{decimals}f}, {interval.high:.{decimals}f}]"


def difference_cells(difference: Difference) -> tuple[str, str, str]:
    """Difference, interval, p-value: ``+1.3``, ``[0.2, 2.5]``, ``0.021``."""
    if not math.isfinite(difference.value):
        return UNDEFINED, "", UNDEFINED
    half = _half(difference) or 0.0
    p = "<0.001" if difference.p < 0.001 else f"{difference.p:.3f}"
    return f"{difference.value:+.{_decimals(half)}f}", interval_range(difference), p


def _half(interval: Interval) -> float | None:
    """Half of an interval's width; None if there is no interval."""
    if interval.low is None or interval.high is None or not math.isfinite(interval.high - interval.low):
        return None
    return (interval.high - interval.low) / 2


def _decimals(half: float) -> int:
    """Number of decimals that show two significant digits of ``half``, at most three."""
    return 2 if half < 0.0005 else min(3, max(0, 1 - math.floor(math.log10(half))))
