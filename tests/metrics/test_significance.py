"""Bootstrap intervals and paired tests."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from condgen_cli.metrics.significance import compare, intervals

Matrix = NDArray[np.float64]


def mean(totals: Matrix, n: int) -> dict[str, Matrix]:
    return {"mean": totals[..., 0] / n}


def column(*values: float) -> Matrix:
    return np.array(values, float)[:, None]


def test_interval_of_a_mean_is_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(5, 2, (2000, 1))
    found = intervals(mean, values, seed=1)["mean"]
    error = float(values.std() / math.sqrt(len(values)))
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=0.15 * error)


def test_intervals_cover_the_truth() -> None:
    generator = np.random.default_rng(3)
    covered = 0
    for seed in range(200):
        found = intervals(mean, generator.normal(0, 1, (60, 1)), seed=seed, resamples=300)["mean"]
        covered += (found.low or 0) <= 0 <= (found.high or 0)
    assert 0.88 * 200 <= covered <= 0.99 * 200


def test_seed_decides() -> None:
    values = np.random.default_rng(0).normal(size=(50, 1))
    assert intervals(mean, values, seed=1) == intervals(mean, values, seed=1)
    assert intervals(mean, values, seed=1) != intervals(mean, values, seed=2)


def test_without_resampling_there_is_no_interval() -> None:
    found = intervals(mean, column(1, 2, 3), seed=1, resamples=0)["mean"]
    assert found.as_json() == {"value": 2.0, "low": None, "high": None}


def test_one_item_has_a_point_for_an_interval() -> None:
    found = intervals(mean, column(4), seed=1)["mean"]
    assert (found.low, found.value, found.high) == (4, 4, 4)


def test_a_clear_difference_is_significant() -> None:
    first = np.random.default_rng(0).normal(0, 1, (300, 1))
    second = first + 0.5 + np.random.default_rng(1).normal(0, 0.5, (300, 1))
    found = compare(mean, first, second, seed=1)["mean"]
    assert found.value == pytest.approx((second - first).mean())
    assert (found.low or 0) > 0.3
    assert (found.high or 0) < 0.6
    assert found.p < 0.001


def test_equal_systems_do_not_differ() -> None:
    values = np.random.default_rng(0).normal(size=(80, 1))
    found = compare(mean, values, values.copy(), seed=1)["mean"]
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_p_value_by_hand() -> None:
    # all 4 items better by 1: of 16 assignments 2 give a difference as large
    found = compare(mean, column(0, 0, 0, 0), column(1, 1, 1, 1), seed=1)["mean"]
    assert found.p == pytest.approx(2 / 16, abs=0.015)


def test_p_values_under_no_difference_are_uniform() -> None:
    generator = np.random.default_rng(5)
    p = [compare(mean, *generator.normal(size=(2, 40, 1)), seed=seed, resamples=2, trials=300)["mean"].p for seed in range(200)]
    assert 0.01 <= np.mean(np.array(p) < 0.05) <= 0.10
    assert 0.40 <= np.mean(np.array(p) < 0.5) <= 0.60


def test_order_turns_the_sign() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 30, 1))
    one, other = (compare(mean, *pair, seed=1)["mean"] for pair in ((first, second), (second, first)))
    assert one.value == pytest.approx(-other.value)
    assert one.low == pytest.approx(-(other.high or 0))
    assert one.p == pytest.approx(other.p, abs=0.03)


def test_sets_larger_than_a_block_are_resampled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(50, 1))
    whole = intervals(mean, values, seed=1)
    monkeypatch.setattr("condgen_cli.metrics.significance._BLOCK", 120)
    assert intervals(mean, values, seed=1) == whole
