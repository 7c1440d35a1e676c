"""Reports as tables, given as columns and rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from condgen_cli.metrics.report import UNDEFINED, Report, difference_cells, interval_cell, interval_range
from condgen_cli.metrics.significance import Difference

if TYPE_CHECKING:
    from condgen_cli.metrics.evaluation import Comparison, Evaluation
    from condgen_cli.zoo.manifest import Reference

__all__ = ["comparisons", "differences", "groups", "scores", "system"]

Table = tuple[list[str], list[list[str]]]


def scores(
    keys: Sequence[str], evaluations: Sequence[Evaluation], reports: Sequence[Report], references: Iterable[Reference]
) -> Table:
    """A row for each model, then one for each published system with its note."""
    ours = [
        [evaluation.name, *(interval_cell(report.metrics[key]) for key in keys), str(report.n), f"{evaluation.seconds:.1f}", ""]
        for evaluation, report in zip(evaluations, reports, strict=True)
    ]
    published = _published_rows(keys, references)
    columns = ["model", *keys, "n", "seconds", "note"]
    if not published:
        return columns[:-1], [row[:-1] for row in ours]
    blank = [""] * (len(columns) - 1)
    return columns, [["ours:", *blank], *ours, ["published:", *blank], *published]


def _published_rows(keys: Sequence[str], references: Iterable[Reference]) -> list[list[str]]:
    """A row for each published system and note, with the values as their authors print them."""
    values: dict[tuple[str, str], dict[str, float]] = {}
    for reference in references:
        if reference.metric in keys and not reference.group:
            note = "; ".join(filter(None, (reference.note, reference.source)))
            values.setdefault((reference.system, note), {})[reference.metric] = reference.value
    return [
        [system, *(f"{found[key]:g}" if key in found else "" for key in keys), "", "", note]
        for (system, note), found in values.items()
    ]


def groups(
    keys: Sequence[str], report: Report, passing: Mapping[str, float] | None = None, references: Iterable[Reference] = ()
) -> Table:
    """A row for each group of items.

    Args:
        keys: keys of the scores.
        report: report with the groups.
        passing: highest scores by key with which a group passes; the others are marked as failed, and a last row has the means
            and the number of failures.
        references: published scores of groups; each system and score has a column.
    """
    passing = {key: bound for key, bound in (passing or {}).items() if key in keys}
    published: dict[str, dict[str, float]] = {}
    for reference in references:
        if reference.group in report.groups and reference.metric in keys:
            published.setdefault(f"{reference.system} {reference.metric}", {})[reference.group] = reference.value
    failed = 0
    rows = []
    for name, (n, metrics) in report.groups.items():
        fails = any(metrics[key].value > bound for key, bound in passing.items())
        failed += fails
        theirs = [f"{values[name]:g}" if name in values else "" for values in published.values()]
        mark = ["failed" if fails else ""] if passing else []
        rows.append([name, *(interval_cell(metrics[key]) for key in keys), str(n), *theirs, *mark])
    columns = ["group", *keys, "n", *published]
    if not passing:
        return columns, rows
    means = [_mean(metrics[key].value for _, metrics in report.groups.values()) for key in keys]
    theirs = [_mean(values.values()) for values in published.values()]
    n = sum(n for n, _ in report.groups.values())
    rows.append(["mean", *means, str(n), *theirs, f"{failed} failed"])
    return [*columns, ", ".join(f"{key} > {bound:g}" for key, bound in passing.items())], rows


def _mean(values: Iterable[float]) -> str:
    """The mean of the values that are not NaN; empty if there are none."""
    numbers = [value for value in values if not math.isnan(value)]
    return f"{math.fsum(numbers) / len(numbers):.2f}" if numbers else ""


def comparisons(keys: Sequence[str], compared: Iterable[Comparison]) -> Table:
    """A row for each score of each model: difference to the first model, interval, p-value."""
    rows = [[c.model, *row] for c in compared for row in _difference_rows(keys, c.differences)]
    return ["model", *_DIFFERENCE], rows


def differences(keys: Sequence[str], found: Mapping[str, Difference]) -> Table:
    """A row for each score: difference, interval, p-value."""
    return [*_DIFFERENCE], _difference_rows(keys, found)


_DIFFERENCE = ("metric", "difference", "95 % interval", "p")


def _difference_rows(keys: Iterable[str], found: Mapping[str, Difference]) -> list[list[str]]:
    return [[key, *difference_cells(found[key])] for key in keys]


def system(keys: Iterable[str], report: Report) -> Table:
    """A row for each score of one system."""
    metrics = ((key, report.metrics[key]) for key in keys)
    rows = [[key, f"{i.value:.4f}" if math.isfinite(i.value) else UNDEFINED, interval_range(i)] for key, i in metrics]
    return ["metric", "score", "95 % interval"], rows
