"""The learning curves of all variants in one picture: the dev metric by training items, for each seed and their median."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from condgen_cli.comparisons.run import Run
from condgen_cli.training.curve import save_chart
from condgen_cli.training.log import read_log

__all__ = ["Curve", "draw_curves", "median_curve", "run_curve"]

Curve = Mapping[int, float]
"""A dev metric by the number of training items read so far."""

_WIDE = 100
"""Minimum ratio of the largest to the smallest value of a metric for a logarithmic scale."""


def run_curve(run: Run) -> Curve:
    """The selecting dev metric of a run, from its log; empty if nothing was evaluated."""
    settings = run.recipe.training
    items = settings.batch_size * settings.accumulate
    records = [record for record in read_log(run.folder / "log.jsonl") if "dev" in record]
    return {record["step"] * items: record["dev"][settings.metric] for record in records}


def median_curve(curves: Sequence[Curve]) -> Curve:
    """The median over runs, where all runs that lasted so long were evaluated; runs that have ended keep their last value."""
    last = [curve[max(curve)] for curve in curves]
    found = {}
    for place in sorted(set().union(*curves)):
        if all(place in curve or place > max(curve) for curve in curves):
            found[place] = statistics.median(curve.get(place, end) for curve, end in zip(curves, last, strict=True))
    return found


def draw_curves(runs: Sequence[Run], title: str, path: Path) -> bool:
    """Draw the curves of runs as a PNG file, replaced atomically.

    Args:
        runs: runs with the same selecting metric; those with the same label are the seeds of a variant.
        title: title of the picture.
        path: path of the file.
    Returns:
        whether a picture was drawn: False if nothing was evaluated, or the selecting metrics differ.
    """
    from matplotlib.figure import Figure

    metrics = {run.recipe.training.metric for run in runs}
    if len(metrics) != 1:
        return False
    curves: dict[str, list[Curve]] = {}
    for run in runs:
        if curve := run_curve(run):
            curves.setdefault(run.label, []).append(curve)
    if not curves:
        return False
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    panel = figure.subplots()
    for number, (label, found) in enumerate(curves.items()):
        color = f"C{number % 10}"
        for curve in found if len(found) > 1 else []:
            panel.plot(list(curve), list(curve.values()), color=color, alpha=0.3, linewidth=0.8)
        middle = median_curve(found)
        name = f"{label}, median of {len(found)}" if len(found) > 1 else label
        style = ".-" if number < 10 else ".--"  # matplotlib cycles through ten colours
        panel.plot(list(middle), list(middle.values()), style, color=color, label=name)
    values = [value for found in curves.values() for curve in found for value in curve.values()]
    if min(values) > 0 and max(values) > _WIDE * min(values):
        panel.set_yscale("log")
    panel.set_title(title)
    panel.set_xlabel("training items read")
    panel.set_ylabel(f"dev {metrics.pop()}")
    panel.legend(frameon=False)
    save_chart(figure, path)
    return True
