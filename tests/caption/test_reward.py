"""The reward is coco-caption's CIDEr."""

from __future__ import annotations

import random

import pytest
from pycocoevalcap.cider.cider_scorer import CiderScorer

from condgen_caption.reward import CiderReward


@pytest.mark.parametrize("seed", range(5))
def test_equals_coco_caption(seed: int) -> None:
    rng = random.Random(seed)

    def caption() -> list[int]:
        return [min(rng.randrange(12), rng.randrange(12)) for _ in range(rng.randint(1, 9))]

    references = [[caption() for _ in range(rng.randint(1, 5))] for _ in range(20)]
    captions = [caption() for _ in references]
    reward = CiderReward(references)
    scorer = CiderScorer(n=4)
    for words, theirs in zip(captions, references, strict=True):
        scorer += (" ".join(map(str, words)), [" ".join(map(str, reference)) for reference in theirs])
    _, expected = scorer.compute_score()
    assert [reward(photo, words) for photo, words in enumerate(captions)] == pytest.approx(list(expected), abs=1e-9)


def test_an_empty_caption_is_worth_nothing() -> None:
    assert CiderReward([[[1, 2, 3]], [[4, 5]]])(0, []) == 0.0
