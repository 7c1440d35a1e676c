"""The real-time factor."""

from __future__ import annotations

import math

import numpy as np
import pytest

from condgen_cli.generation import AttentionMap, Axis, Generation
from condgen_cli.item import Item
from condgen_cli.metrics.suite import build_suite
from condgen_cli.registry.plugins import manager


def heard(positions: int, seconds: float, start: float = 3.0) -> Generation:
    """One character from so many positions of 40 ms."""
    time = Axis("time", "time", tuple(start + 0.04 * place for place in range(positions)))
    attention = AttentionMap(np.full((1, positions), 1 / positions, np.float32), (Axis("token", "tokens", ("A",)), time))
    return Generation("A", ("A",), attention={"attention": attention}, seconds=seconds)


def test_seconds_are_set_against_the_sound_that_is_attended_to() -> None:
    suite = build_suite(("rtf",), manager().metrics)
    assert suite.reads_attention
    items = [Item(str(number), None, references=("A",)) for number in range(3)]
    statistics = suite.statistics(items, [heard(50, 0.1), heard(100, 0.5, start=0.0), Generation("A", seconds=9.0)])
    assert suite.score(statistics.sum(0), 3)["rtf"] == pytest.approx((0.1 + 0.5) / (2 + 4))
    assert math.isnan(suite.score(statistics[2:].sum(0), 1)["rtf"])
