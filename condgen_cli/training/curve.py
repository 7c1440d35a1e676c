"""The learning curve of a run: loss and dev metric over the steps."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condgen_cli.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_curve", "save_chart"]


def draw_curve(records: Iterable[Mapping[str, Any]], metric: str, title: str, path: Path) -> None:
    """Draw two panels as a PNG file: the training loss (with the dev loss, if it is measured), and the dev metric.

    Args:
        records: records of the log, see ``condgen_cli.training.log``.
        metric: dev metric that selects the model; its best value is marked.
        title: title above the panels.
        path: path of the file, which is replaced atomically.
    """
    # not pyplot: it keeps figures alive and picks a window system
    from matplotlib.figure import Figure

    records = list(records)
    training = [record for record in records if "loss" in record]
    evaluations = [record for record in records if "dev" in record]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)

    left.plot([record["step"] for record in training], [record["loss"] for record in training], label="training")
    if metric != "loss" and any("loss" in record["dev"] for record in evaluations):
        measured = [record for record in evaluations if "loss" in record["dev"]]
        left.plot([record["step"] for record in measured], [record["dev"]["loss"] for record in measured], ".-", label="dev")
        left.legend(frameon=False)
    left.set_ylabel("loss")

    steps = [record["step"] for record in evaluations]
    right.plot(steps, [record["dev"][metric] for record in evaluations], ".-", color="tab:green")
    best = next((record for record in reversed(evaluations) if record["best"]), None)
    if best:
        right.plot([best["step"]], [best["dev"][metric]], "o", color="tab:red", label=f"best: {best['dev'][metric]:.4g}")
        right.legend(frameon=False)
    right.set_ylabel(f"dev {metric}")
    for panel in (left, right):
        panel.set_xlabel("steps")
    save_chart(figure, path)


def save_chart(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file, replaced atomically, with a faint grid and without the upper and right frame."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for panel in figure.axes:
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    picture = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(picture, format="png", dpi=120)
    write_atomically(path, picture.getvalue())
