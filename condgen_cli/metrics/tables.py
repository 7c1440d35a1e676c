"""Reports as the columns and rows of tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from condgen_cli.metrics.report import Report, difference_cells, interval_cell, interval_range
from condgen_cli.metrics.significance import Difference

if TYPE_CHECKING:
    from condgen_cli.metrics.evaluation import Comparison, Evaluation
    from condgen_cli.zoo.manifest import Reference

__all__ = ["comparisons", "differences", "groups", "scores", "system"]

Table = tuple[list[str], list[list[str]]]


def scores(
    keys: Sequence[str], evaluations: Sequence[Evaluation], reports: Sequence[Report], references: Iterable[Reference]
) -> Table:
    """A row for each model, then one for each system that others report on, with its note."""
    ours = [
        [evaluation.name, *(interval_cell(report.metrics[key]) for key in keys), str(report.n), f"{evaluation.seconds:.1f}", ""]
        for evaluation, report in zip(evaluations, reports, strict=True)
    ]
    published = _published(keys, references)
    columns = ["model", *keys, "n", "seconds", "note"]
    if not published:
        return columns[:-1], [row[:-1] for row in ours]
    blank = [""] * (len(columns) - 1)
    return columns, [["ours:", *blank], *ours, ["published:", *blank], *published]


def _published(keys: Sequence[str], references: Iterable[Reference]) -> list[list[str]]:
    """One row a system and note; values as their authors print them."""
    values: dict[tuple[str, str], dict[str, float]] = {}
    for reference in references:
        if reference.metric in keys:
            note = "; ".join(filter(None, (reference.note, reference.source)))
            values.setdefault((reference.system, note), {})[reference.metric] = reference.value
    return [
        [system, *(f"{found[key]:g}" if key in found else "" for key in keys), "", "", note]
        for (system, note), found in values.items()
    ]


def groups(keys: Sequence[str], report: Report) -> Table:
    """A row for each part of the set."""
    rows = [[name, *(interval_cell(metrics[key]) for key in keys), str(n)] for name, (n, metrics) in report.groups.items()]
    return ["group", *keys, "n"], rows


def comparisons(keys: Sequence[str], compared: Iterable[Comparison]) -> Table:
    """A row for each score of each model: difference to the first model, its interval, the p-value."""
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
    return ["metric", "score", "95 % interval"], [[key, f"{i.value:.4f}", interval_range(i)] for key, i in metrics]
