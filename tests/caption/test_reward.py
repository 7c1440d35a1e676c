"""The reward is coco-caption's CIDEr."""

from __future__ import annotations

import math
import random

import pytest
from pycocoevalcap.cider.cider_scorer import CiderScorer

from condgen_caption.reward import CiderReward, bleu_reward


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
    rewards = [reward(theirs, [words])[0] for theirs, words in zip(references, captions, strict=True)]
    assert rewards == pytest.approx(list(expected), abs=1e-9)


def test_an_empty_caption_is_worth_nothing() -> None:
    assert CiderReward([[[1, 2, 3]], [[4, 5]]])([[1, 2, 3]], [[], [1, 2, 3]])[0] == 0.0


def test_bleu_of_a_sentence_by_hand() -> None:
    references = [[1, 2, 3, 4, 5], [1, 2, 9]]
    # 4 of 4 words, 2 + 1 of 3 + 1 pairs, 1 + 1 of 2 + 1 triples, 0 + 1 of 1 + 1 fours; of 5 and 3 words the shorter counts
    expected = (4 / 4 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    captions = [[1, 2, 3, 9], [1, 2, 3, 4, 5], [1, 2], [7], []]
    assert bleu_reward(references, captions) == pytest.approx([expected, 1.0, math.exp(1 - 3 / 2), 0.0, 0.0])
