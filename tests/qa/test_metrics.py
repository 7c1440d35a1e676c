"""Supporting facts among the most attended sentences."""

from __future__ import annotations

import math

import numpy as np
import pytest

from condgen_cli.generation import AttentionMap, Axis, Generation
from condgen_cli.item import Item
from condgen_qa.metrics import FactRecall


def generation(*hops: list[float]) -> Generation:
    weights = np.array(hops, np.float32)
    axes = (Axis.numbered("hop", "hops", len(weights)), Axis.numbered("sentence", "sentences", weights.shape[1]))
    return Generation("yes", attention={"attention": AttentionMap(weights, axes)})


def item(*facts: int, sentences: int = 4) -> Item:
    return Item("x", None, ("yes",), meta={"facts": facts, "sentences": sentences})


def scored(pairs: list[tuple[Item, Generation]]) -> dict[str, float]:
    metric = FactRecall()
    items, generations = zip(*pairs, strict=True)
    totals = metric.statistics(items, generations).sum(0)
    return {key: float(value) for key, value in metric.score(totals, len(pairs)).items()}


def test_recall_is_of_as_many_sentences_as_there_are_facts() -> None:
    scores = scored([(item(0, 3), generation([0.5, 0.3, 0.1, 0.1], [0.0, 0.1, 0.0, 0.9]))])
    assert scores["fact_recall_1"] == 50
    assert scores["fact_recall_2"] == 50
    assert scores["fact_recall"] == 100  # 0.9 in the second hop, 0.5 in the first
    assert math.isnan(scores["fact_recall_3"])


def test_facts_that_left_the_memory_are_missed_and_the_others_keep_their_places() -> None:
    hops = ([0.1, 0.8, 0.1],)
    assert scored([(item(4, sentences=6), generation(*hops))])["fact_recall"] == 100
    assert scored([(item(1, 4, sentences=6), generation(*hops))])["fact_recall"] == 50


def test_items_without_facts_do_not_count() -> None:
    pairs = [(item(), generation([1.0, 0, 0, 0])), (item(1), generation([1.0, 0, 0, 0])), (item(0), generation([1.0, 0, 0, 0]))]
    assert scored(pairs)["fact_recall"] == 50


def test_statistics_add_up() -> None:
    rng = np.random.default_rng(0)
    pairs = [
        (item(*rng.choice(4, 2, replace=False).tolist()), generation(rng.dirichlet(np.ones(4)).tolist())) for _ in range(9)
    ]
    parts = [scored(pairs[:3])["fact_recall"], scored(pairs[3:])["fact_recall"]]
    assert scored(pairs)["fact_recall"] == pytest.approx((3 * parts[0] + 6 * parts[1]) / 9)
