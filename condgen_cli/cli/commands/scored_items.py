"""Single items of an evaluation: the worst ones with attention, alignments, and warnings about inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from condgen_cli.terminal import console
from condgen_cli.terminal.printable import printable

if TYPE_CHECKING:
    from condgen_cli.generation import Generation
    from condgen_cli.item import Item
    from condgen_cli.metrics.alignments import Weights
    from condgen_cli.metrics.evaluation import Evaluation
    from condgen_cli.metrics.suite import Suite
    from condgen_cli.running.runner import Runner

__all__ = ["MOST_WARNINGS", "items_json", "print_items", "warn_of_items"]

MOST_WARNINGS = 5
"""Largest number of failures, and of warnings about items, that are printed."""


def items_json(suite: Suite, evaluations: Iterable[Evaluation], worst: int, weights: Weights | None) -> list[dict[str, Any]]:
    """The members that ``--worst`` and ``--alignments`` add to each result in JSON."""
    from condgen_cli.metrics.evaluation import align_output, records, worst_rows

    details = []
    for evaluation in evaluations:
        detail: dict[str, Any] = {}
        rows = worst_rows(suite, evaluation, worst)
        if rows:
            every = list(records(suite, evaluation))
            attention = [evaluation.generations[row].attention for row in rows]
            maps = [{name: map.as_json() for name, map in maps.items()} or None for maps in attention]
            detail["worst"] = [{**every[row], "attention": drawn} for row, drawn in zip(rows, maps, strict=True)]
        if weights:
            chosen = rows or range(len(evaluation.items))
            detail["alignments"] = [
                {"id": evaluation.items[row].id, **align_output(evaluation, row, weights, suite.words).as_json()}
                for row in chosen
            ]
        details.append(detail)
    return details


def print_items(
    runner: Runner,
    evaluation: Evaluation,
    suite: Suite,
    items: Callable[[], Iterable[Item]],
    worst: int,
    weights: Weights | None,
) -> None:
    """The worst items with what the model looked at, and alignments: theirs, or all if none were asked for."""
    from condgen_cli.metrics.evaluation import align_output, records, worst_rows
    from condgen_cli.metrics.report import UNDEFINED

    rows = worst_rows(suite, evaluation, worst)
    if rows:
        print(f"\n{printable(evaluation.name)}: the worst by {suite.item_key}")
    every = list(records(suite, evaluation)) if rows else []
    conditions = _conditions(runner, items(), {evaluation.items[row].id for row in rows})
    for row in rows:
        item, record = evaluation.items[row], every[row]
        value = record["metrics"][suite.item_key]
        score = UNDEFINED if value is None else f"{value:.3f}"
        print(f"\n{printable(item.id)}  {suite.item_key} {score}  {printable(record['output'])}")
        for reference in item.references:
            print(f"  reference: {printable(reference)}")
        _print_attention(replace(evaluation.generations[row], condition=conditions.get(item.id)))
        if weights:
            print(align_output(evaluation, row, weights, suite.words).text(item.id))
    if weights and not rows:
        for row, item in enumerate(evaluation.items):
            print(f"\n{align_output(evaluation, row, weights, suite.words).text(item.id)}")


def _print_attention(generation: Generation) -> None:
    from condgen_cli.render import attention_text

    if generation.attention:
        print(attention_text(generation, width=console.width(), color=console.use_color(), encoding=console.encoding()))


def _conditions(runner: Runner, items: Iterable[Item], wanted: set[str]) -> dict[str, Any]:
    """The backgrounds that attention is drawn on, read again for the few items that are shown."""
    conditions: dict[str, Any] = {}
    if not wanted:
        return conditions
    for item in items:
        if item.id in wanted:
            conditions[item.id] = runner.model.condition(item)
        if len(conditions) == len(wanted):
            break
    return conditions


def warn_of_items(evaluation: Evaluation) -> None:
    """Print the first warnings about inputs, and the number of the others."""
    pairs = zip(evaluation.items, evaluation.generations, strict=True)
    told = [f"{item.source or item.id}: {warning}" for item, one in pairs for warning in dict.fromkeys(one.warnings)]
    for warning in told[:MOST_WARNINGS]:
        console.warn(f"{evaluation.name}: {warning}")
    if len(told) > MOST_WARNINGS:
        console.warn(f"{evaluation.name}: {len(told) - MOST_WARNINGS} more such warnings; --errors FILE writes them all")
