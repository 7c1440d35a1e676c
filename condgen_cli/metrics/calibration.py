"""Confidence: the probability that what a model wrote is right, by logistic regression on how probable the model found it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from condgen_cli.files import write_atomically

__all__ = ["Bin", "fit", "judge", "print_reliability", "reliability", "write_coefficients"]

BINS = 10
_STEPS = 50
_PENALTY = 1e-3


def judge(features: NDArray[np.floating], coefficients: Sequence[float]) -> NDArray[np.float64]:
    """Probabilities (n,) of being right, from features (n, k) and coefficients (k,)."""
    scores = features @ np.asarray(coefficients, np.float64)
    return np.asarray(1 / (1 + np.exp(-scores)), np.float64)


def fit(features: NDArray[np.floating], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The coefficients (k,) of the most probable logistic regression with a weak normal prior, by Newton's method.

    Args:
        features: (n, k) features; a column of ones gives the intercept.
        right: (n,) whether each was right.
    """
    weights = np.zeros(features.shape[1])
    for _ in range(_STEPS):
        sure = judge(features, weights.tolist())
        gradient = features.T @ (right - sure) - _PENALTY * weights
        curvature = (features * (sure * (1 - sure))[:, None]).T @ features + _PENALTY * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    return weights


class Bin(NamedTuple):
    """Outputs of like confidence: their number, their mean confidence, and the share of them that is right."""

    number: int
    confidence: float
    right: float


def reliability(confidence: NDArray[np.floating], right: NDArray[np.bool_], count: int = BINS) -> list[Bin]:
    """The reliability curve: bins of equal width from 0 to 1, without empty ones.

    Args:
        confidence: (n,) probabilities of being right.
        right: (n,) whether they are.
        count: number of bins.
    """
    places = np.minimum((confidence * count).astype(int), count - 1)
    bins = (places == place for place in range(count))
    return [Bin(int(own.sum()), float(confidence[own].mean()), float(right[own].mean())) for own in bins if own.any()]


def print_reliability(confidence: NDArray[np.floating], right: NDArray[np.bool_], unit: str) -> None:
    """Print the reliability curve, with the number of ``unit`` in all."""
    print(f"{len(right)} {unit}, {100 * right.mean():.1f} % right, mean confidence {100 * confidence.mean():.1f} %")
    for one in reliability(confidence, right):
        print(f"{one.number:6} {unit}  confidence {one.confidence:.3f}  right {one.right:.3f}")


def write_coefficients(run: Path, coefficients: Sequence[float]) -> None:
    """Write coefficients into the config of a run's model, as ``confidence``, from where they are published."""
    path = run / "model.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    description["architecture"]["config"]["confidence"] = [round(float(one), 4) for one in coefficients]
    write_atomically(path, (json.dumps(description, indent=2) + "\n").encode())
