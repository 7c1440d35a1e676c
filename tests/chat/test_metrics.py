"""Metrics of replies: distinct n-grams, common replies, the probe."""

from __future__ import annotations

import math

import numpy as np
import pytest

from condgen_chat.metrics import Blandness, ContextProbe, greets
from condgen_cli.generation import Generation
from condgen_cli.item import Item

ITEM = Item("item", ("hi",), ("hello",))


def scores(*replies: str) -> dict[str, float]:
    metric = Blandness()
    rows = metric.statistics([ITEM] * len(replies), [Generation(reply) for reply in replies])
    return {key: float(value) for key, value in metric.score(rows.sum(0), len(rows)).items()}


def test_distinct_ngrams_of_all_replies() -> None:
    found = scores("I like it.", "I like films!", "", "i LIKE it")
    assert found["distinct1"] == pytest.approx(100 * 4 / 9)
    assert found["distinct2"] == pytest.approx(100 * 3 / 6)
    assert found["reply_length"] == pytest.approx(9 / 4)
    assert found["common_replies"] == 100


def test_common_replies() -> None:
    replies = [f"reply number {number}" for number in range(20) for _ in range(1 if number else 11)]
    assert scores(*replies)["common_replies"] == pytest.approx(100 * 20 / 30)


def test_statistics_add_up_over_any_order_of_the_items() -> None:
    metric = Blandness()
    replies = [Generation(text) for text in ("a b", "b c d", "a", "b c")]
    rows = metric.statistics([ITEM] * 4, replies)
    back = metric.statistics([ITEM] * 4, replies[::-1])
    np.testing.assert_allclose(rows, back[::-1])
    totals = np.stack([rows.sum(0), rows[:2].sum(0)])
    assert metric.score(totals, 4)["distinct1"].shape == (2,)


def test_nothing_written() -> None:
    found = scores("", "")
    assert (found["distinct1"], found["distinct2"], found["reply_length"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hi there", True),
        ("Heyyy, how are you", True),
        ("oh, hello!", True),
        ("good morning", True),
        ("What's up?", True),
        ("history is nice", False),
        ("I said hi", False),
        ("how are you", False),
        ("", False),
    ],
)
def test_what_is_a_greeting(text: str, expected: bool) -> None:
    assert greets(text) == expected


def test_each_kind_of_probe_has_a_score_of_its_own() -> None:
    def item(kind: str, *words: str) -> Item:
        return Item(kind, ("x",), ("y",), meta={"probe": kind, "words": words})

    items = [item("greeting"), item("greeting"), item("first", "dog", "dogs"), item("topic", "music")]
    replies = ["Hello!", "Fine.", "You spoke of your dog.", "I like dogs"]
    metric = ContextProbe()
    rows = metric.statistics(items, [Generation(reply) for reply in replies])
    found = metric.score(rows.sum(0), 4)
    assert {key: float(value) for key, value in found.items()} == {"greets_again": 50, "recalls_first": 100, "follows_topic": 0}
    assert math.isnan(float(metric.score(rows[:1].sum(0), 1)["follows_topic"]))
