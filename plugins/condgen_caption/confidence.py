"""How sure a model is of a caption: the probability that all things that it names are there, calibrated on dev photos.

    python -m condgen_caption.confidence RUN --data-dir DATA

fits it on the dev splits of Flickr8k and COCO and writes the coefficients into the run's ``model.json``; with ``--split test``
it measures how often captions of each confidence were right.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from condgen_caption.rightness import judge_things
from condgen_cli.errors import CondgenError, UsageError
from condgen_cli.metrics.calibration import fit, judge, print_reliability, write_coefficients
from condgen_cli.terminal import console
from condgen_cli.terminal.console import progress

if TYPE_CHECKING:
    from condgen_cli.item import Item
    from condgen_cli.running.runner import Runner

__all__ = ["caption_confidence", "caption_features", "gather"]

DATASETS = ("flickr8k", "coco")
_LEAST = -12.0
"""Smallest log-probability that counts: one impossible word is as good as another."""


def caption_features(log_probs: NDArray[np.floating]) -> NDArray[np.float64]:
    """The features (3,) of a caption: 1, and of the log-probabilities (steps,) of its words the mean and the least."""
    found = log_probs.astype(np.float64).clip(_LEAST, 0.0)
    return np.array([1.0, found.mean(), found.min()]) if len(found) else np.array([1.0, _LEAST, _LEAST])


def caption_confidence(log_probs: NDArray[np.floating], coefficients: Sequence[float]) -> float:
    """The probability that all things that a caption names are there."""
    return float(judge(caption_features(log_probs)[None], coefficients)[0])


def gather(runner: Runner, items: Sequence[Item]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The features (captions, 3) of a model's captions that name a thing, and whether a reference names each of these things.

    Raises:
        CondgenError: the error of the first photo that fails.
    """
    features, right = [np.zeros((0, 3))], []
    with progress(len(items), "captions", unit="photos") as advance:
        for item, result in zip(items, runner.stream(items), strict=True):
            if result.error is not None:
                raise result.error
            things = judge_things(result.generations[0].output, item.references)
            if things:
                features.append(caption_features(result.generations[0].log_probs)[None])
                right.append(all(things))
            advance(1)
    return np.concatenate(features), np.array(right, np.bool_)


def _command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or with --split test a model.")],
    data_dir: Annotated[Path | None, typer.Option("--data-dir", metavar="DIR", help="Folder of the data sets.")] = None,
    split: Annotated[str, typer.Option("--split", help="dev calibrates, test measures.")] = "dev",
) -> None:
    """Calibrate the confidence of captions, or measure it."""
    from condgen_cli.data.store import open_dataset
    from condgen_cli.running.runner import load

    try:
        runner = load(str(run), "cpu")
        found = [gather(runner, list(open_dataset(name, split, data_dir))) for name in DATASETS]
        if split == "dev":
            write_coefficients(run, fit(*(np.concatenate(parts) for parts in zip(*found, strict=True))).tolist())
            runner = load(str(run), "cpu")
        coefficients = runner.model.config.confidence
        if coefficients is None:
            raise UsageError(f"{run} has no confidence", "calibrate it on dev first")
    except CondgenError as error:
        console.fail(error)
        sys.exit(error.exit_code)
    print("coefficients", *coefficients)
    for name, (features, right) in zip(DATASETS, found, strict=True):
        print_reliability(judge(features, coefficients), right, f"captions of {name}")


if __name__ == "__main__":
    typer.run(_command)
