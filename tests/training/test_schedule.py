from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condgen_cli.training.schedule import learning_rate_factor, sampling_probability

share = st.floats(0, 1)


@pytest.mark.parametrize(
    ("schedule", "start", "middle", "end"),
    [("constant", 1, 1, 1), ("cosine", 1, 0.55, 0.1), ("linear", 1, 0.55, 0.1), ("plateau", 1, 1, 1)],
)
def test_shapes(schedule: str, start: float, middle: float, end: float) -> None:
    factors = [learning_rate_factor(schedule, progress, 100, 0, 0.1) for progress in (0.0, 0.5, 1.0)]
    assert factors == pytest.approx([start, middle, end])


def test_warmup_rises_linearly() -> None:
    assert [learning_rate_factor("constant", 0, step, 3, 0) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1, 1])


@given(st.sampled_from(["constant", "cosine", "linear"]), share, share, share)
def test_never_rises_after_warmup_nor_leaves_its_bounds(schedule: str, one: float, other: float, floor: float) -> None:
    early, late = sorted((one, other))
    before, after = (learning_rate_factor(schedule, progress, 9, 0, floor) for progress in (early, late))
    assert floor - 1e-9 <= after <= before + 1e-9 <= 1 + 2e-9


def test_sampling_probability() -> None:
    probabilities = [sampling_probability(progress, 0.4, 0.2, 0.6) for progress in (0, 0.2, 0.4, 0.6, 1)]
    assert probabilities == pytest.approx([0, 0, 0.2, 0.4, 0.4])
    assert sampling_probability(0.3, 0.25, 0.0, 0.0) == 0.25
