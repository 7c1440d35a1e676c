"""Confidence of outputs: the regression, the reliability curve, and where the coefficients go."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from condgen_cli.metrics.calibration import fit, judge, print_reliability, reliability, write_coefficients


def test_a_fit_finds_the_probabilities_that_made_the_data() -> None:
    generator = np.random.default_rng(0)
    features = np.stack([np.ones(20_000), generator.normal(size=20_000)], 1)
    truth = [0.5, -1.5]
    right = generator.random(20_000) < judge(features, truth)
    found = fit(features, right)
    assert found == pytest.approx(truth, abs=0.1)
    for one in reliability(judge(features, found.tolist()), right):
        assert one.right == pytest.approx(one.confidence, abs=0.08)


def test_a_fit_of_what_is_always_right_stays_finite() -> None:
    features = np.ones((5, 1))
    assert 0.9 < judge(features, fit(features, np.ones(5, bool)).tolist())[0] < 1


def test_the_reliability_curve(capsys: pytest.CaptureFixture[str]) -> None:
    sure, right = np.array([0.05, 0.95, 1.0]), np.array([False, True, False])
    low, high = reliability(sure, right)
    assert low == (1, pytest.approx(0.05), 0.0)
    assert high == (2, pytest.approx(0.975), 0.5)
    print_reliability(sure, right, "words")
    assert capsys.readouterr().out.splitlines()[0] == "3 words, 33.3 % right, mean confidence 66.7 %"


def test_coefficients_are_written_into_the_config(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps({"task": "x", "architecture": {"name": "y", "config": {"size": 3}}}))
    write_coefficients(tmp_path, [1.23456, -2])
    config = json.loads((tmp_path / "model.json").read_text())["architecture"]["config"]
    assert config == {"size": 3, "confidence": [1.2346, -2.0]}
