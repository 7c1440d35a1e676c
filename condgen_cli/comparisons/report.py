"""A comparison's outcomes as tables: for a terminal, for a page in Markdown, as data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from condgen_cli.comparisons.definition import ComparisonFile
from condgen_cli.comparisons.run import Outcome, Scoring
from condgen_cli.metrics.report import interval_cell
from condgen_cli.metrics.significance import Interval

__all__ = ["Table", "as_json", "markdown", "signatures", "tables"]

_MISSING = "–"

Records = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Table:
    """A table of text: title (which may be empty), headings and rows."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(outcomes: Sequence[Outcome], scoring: Scoring) -> list[Table]:
    """The scores of the variants, and for each metric those of the groups, if the data set has groups.

    A score is given with its 95 % interval, or for several seeds as their mean and range.
    """
    records = _records(outcomes)
    seeds = {outcome.run.seed for outcome in outcomes}
    title = f"{scoring.dataset} {scoring.split}" + (f", mean and range of {len(seeds)} seeds" if len(seeds) > 1 else "")
    columns = ["variant", "parameters", *scoring.metrics, "n", "tokens/s", "training s"]
    rows = [[label, *_row(found, scoring.metrics)] for label, found in records.items()]
    return [Table(title, columns, rows), *_group_tables(records, scoring.metrics)]


def _records(outcomes: Iterable[Outcome]) -> dict[str, Records]:
    """The records of successful runs, one per seed, by variant."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for outcome in outcomes:
        records = found.setdefault(outcome.run.label, [])
        if outcome.record is not None:
            records.append(outcome.record)
    return dict(found)


def _row(records: Records, metrics: Iterable[str]) -> list[str]:
    return [
        _mean(records, lambda record: record["parameters"], ",.0f"),
        *(_scores([record["result"]["metrics"][key] for record in records]) for key in metrics),
        _mean(records, lambda record: record["result"]["n"], ",.0f"),
        _mean(records, lambda record: record["training"]["tokens_per_second"], ",.0f"),
        _mean(records, lambda record: record["training"]["seconds"], ",.1f"),
    ]


def _mean(records: Records, value: Callable[[Mapping[str, Any]], float | None], spec: str) -> str:
    values = [number for record in records if (number := value(record)) is not None]
    return format(sum(values) / len(values), spec) if values else _MISSING


def _scores(scores: Sequence[Mapping[str, Any]]) -> str:
    scores = [score for score in scores if score["value"] is not None]
    if not scores:
        return _MISSING
    if len(scores) == 1:
        return interval_cell(Interval(**scores[0]))
    values = [score["value"] for score in scores]
    return f"{sum(values) / len(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def _group_tables(records: Mapping[str, Records], metrics: Iterable[str]) -> list[Table]:
    every = [record["result"].get("groups", {}) for found in records.values() for record in found]
    # 5-9 before 10-14; names without numbers in the order of the data set
    names = sorted(dict.fromkeys(name for groups in every for name in groups), key=_numbers)
    if len(names) < 2:
        return []  # a single group adds nothing to the first table
    sizes = {name: max(groups[name]["n"] for groups in every if name in groups) for name in names}

    def row(found: Records, key: str) -> list[str]:
        groups = [record["result"].get("groups", {}) for record in found]
        return [_scores([group[name]["metrics"][key] for group in groups if name in group]) for name in names]

    columns = ["variant", *(f"{name} (n {sizes[name]})" for name in names)]
    return [
        Table(f"{key} by group", columns, [[label, *row(found, key)] for label, found in records.items()]) for key in metrics
    ]


def _numbers(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)]


def signatures(outcomes: Iterable[Outcome]) -> list[str]:
    """The signatures of the scores: only one, unless items failed in some runs."""
    return list(dict.fromkeys(outcome.record["result"]["signature"] for outcome in outcomes if outcome.record))


def as_json(comparison: ComparisonFile, outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """All results as JSON, by variant and seed; ``result`` is as in ``condgen eval``."""
    settings = {variant.label: variant.settings for variant in comparison.variants}
    variants = []
    for outcome in outcomes:
        record = outcome.record or {}
        facts = {key: record.get(key) for key in ("parameters", "training", "result")}
        error = outcome.error.as_json() if outcome.error else None
        run = {"label": outcome.run.label, "seed": outcome.run.seed, "settings": settings[outcome.run.label]}
        variants.append({**run, "run": str(outcome.run.folder), **facts, "error": error})
    return {"experiment": comparison.name, "question": comparison.question, "variants": variants}


def markdown(comparison: ComparisonFile, outcomes: Sequence[Outcome], scoring: Scoring, command: str) -> str:
    """A page: the question, the command that answers it, the tables, what each variant is.

    Args:
        command: command line that repeats the runs.
    """
    blocks = [f"# {comparison.question}", f"    {command}"]
    for table in tables(outcomes, scoring):
        blocks += [f"{table.title[:1].upper()}{table.title[1:]}:", _markdown_table(table)]
    blocks += [_variants(comparison, {outcome.run.label for outcome in outcomes})]
    failures = [f"- {outcome.run.folder.name} failed: {outcome.error.message}" for outcome in outcomes if outcome.error]
    if failures:
        blocks.append("\n".join(failures))
    blocks += [f"`{signature}`" for signature in signatures(outcomes)]
    return "\n\n".join(blocks)


def _markdown_table(table: Table) -> str:
    cells = [[cell.replace("|", r"\|") for cell in line] for line in (table.columns, *table.rows)]
    rule = ["---", *["---:"] * (len(table.columns) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (cells[0], rule, *cells[1:]))


def _variants(comparison: ComparisonFile, labels: Iterable[str]) -> str:
    """The settings that all runs share, then those of each variant."""
    shared = [f"recipe `{comparison.recipe}`"] if comparison.recipe else []
    if comparison.settings:
        shared.append(f"settings {_code(comparison.settings)}")
    if comparison.seeds:
        shared.append(f"seeds {', '.join(map(str, comparison.seeds))}")
    lines = [f"All variants: {'; '.join(shared)}.", ""] if shared else []
    for variant in comparison.variants:
        if variant.label in labels:
            own = [f"recipe `{variant.recipe}`"] if variant.recipe else []
            own += [_code(variant.settings)] if variant.settings else []
            lines.append(f"- {variant.label}: {'; '.join(own) or 'no further settings'}")
    return "\n".join(lines)


def _code(settings: Iterable[str]) -> str:
    return ", ".join(f"`{setting}`" for setting in settings)
