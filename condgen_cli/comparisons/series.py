"""Scores over the number of parameters, or over another quantity in which variants differ: a line for each series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from condgen_cli.comparisons.definition import ComparisonFile
from condgen_cli.comparisons.run import Outcome
from condgen_cli.training.curve import save_chart

__all__ = ["draw_series", "points"]

Point = tuple[float, float, float, float]
"""Position on the axis, score, and the ends of its 95 % interval."""


def points(comparison: ComparisonFile, outcomes: Sequence[Outcome], metric: str) -> dict[str, list[Point]]:
    """For each series, the scores of its successful runs, sorted along the axis."""
    variants = {variant.label: variant for variant in comparison.variants}
    found: dict[str, list[Point]] = {}
    for outcome in outcomes:
        variant = variants[outcome.run.label]
        if variant.series and outcome.record:
            place = outcome.record["parameters"] if variant.at is None else variant.at
            found.setdefault(variant.series, []).append((place, *_score(outcome.record, metric)))
    return {name: sorted(each) for name, each in found.items()}


def draw_series(comparison: ComparisonFile, outcomes: Sequence[Outcome], metric: str, path: Path) -> bool:
    """Draw the scores of all series as a PNG file, replaced atomically.

    Returns:
        whether a picture was drawn: False if no variant of a series has been scored.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, NullLocator

    found = points(comparison, outcomes, metric)
    if not found:
        return False
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    panel = figure.subplots()
    for name, each in found.items():
        places, scores, low, high = zip(*each, strict=True)
        below = [score - end for score, end in zip(scores, low, strict=True)]
        above = [end - score for score, end in zip(scores, high, strict=True)]
        panel.errorbar(places, scores, (below, above), fmt=".-", capsize=3, label=name)
    panel.set_xscale("log")
    panel.set_xticks([place for place, *_ in max(found.values(), key=len)])  # the positions of other series are similar
    panel.xaxis.set_major_formatter(EngFormatter(places=0, sep=""))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_title(comparison.name)
    panel.set_xlabel(comparison.axis or "parameters")
    panel.set_ylabel(metric)
    panel.legend(frameon=False)
    save_chart(figure, path)
    return True


def _score(record: Mapping[str, Any], metric: str) -> tuple[float, float, float]:
    score = record["result"]["metrics"][metric]
    value = score["value"]
    low, high = (value if end is None else end for end in (score["low"], score["high"]))
    return value, low, high
