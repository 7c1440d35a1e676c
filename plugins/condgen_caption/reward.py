"""Rewards for sampled captions: CIDEr-D (Vedantam et al. 2015, section 5; Rennie et al. 2017) and sentence BLEU.

The end token counts as a word, so that a truncated caption gets a lower reward.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

__all__ = ["CiderReward", "bleu_reward"]

ORDERS = 4
SIGMA = 6.0

Tokens = Sequence[int]
Vector = tuple[list[dict[tuple[int, ...], float]], list[float], int]
"""TF-IDF weights of n-grams by order, their norms, and the length in bigrams, as in coco-caption."""


def _ngrams(tokens: Tokens) -> Counter[tuple[int, ...]]:
    return Counter(
        tuple(tokens[start : start + order]) for order in range(1, ORDERS + 1) for start in range(len(tokens) - order + 1)
    )


class CiderReward:
    """CIDEr-D of captions against the references of their photo or clip.

    Args:
        corpus: references of each photo or clip as token ids, for document frequencies.
    """

    def __init__(self, corpus: Sequence[Sequence[Tokens]]) -> None:
        self.frequency = Counter(ngram for photo in corpus for ngram in set().union(*map(_ngrams, photo)))
        self.log_photos = math.log(len(corpus)) if corpus else 0.0

    def __call__(self, references: Sequence[Tokens], captions: Sequence[Tokens]) -> list[float]:
        """CIDEr-D, from 0 to 10, of each caption of one photo or clip with these references."""
        theirs = [self._vector(_ngrams(reference)) for reference in references]
        return [self._score(theirs, self._vector(_ngrams(caption))) for caption in captions]

    def _score(self, references: Sequence[Vector], caption: Vector) -> float:
        weights, norms, length = caption
        total = 0.0
        for their_weights, their_norms, their_length in references:
            penalty = math.exp(-((length - their_length) ** 2) / (2 * SIGMA**2))
            for order in range(ORDERS):
                if norms[order] and their_norms[order]:
                    theirs = their_weights[order]
                    product = sum(min(weight, theirs[n]) * theirs[n] for n, weight in weights[order].items() if n in theirs)
                    total += penalty * product / (norms[order] * their_norms[order])
        return 10.0 * total / (ORDERS * len(references))

    def _vector(self, counts: Counter[tuple[int, ...]]) -> Vector:
        weights: list[dict[tuple[int, ...], float]] = [{} for _ in range(ORDERS)]
        for ngram, count in counts.items():
            weights[len(ngram) - 1][ngram] = count * (self.log_photos - math.log(max(1, self.frequency[ngram])))
        norms = [math.sqrt(sum(weight * weight for weight in part.values())) for part in weights]
        return weights, norms, sum(count for ngram, count in counts.items() if len(ngram) == 2)


def bleu_reward(references: Sequence[Tokens], captions: Sequence[Tokens]) -> list[float]:
    """BLEU-4, from 0 to 1, of each caption of one photo or clip, with add-one smoothing of 2- to 4-grams (Lin & Och 2004)."""
    most = _max_counts(map(_ngrams, references))
    lengths = [len(reference) for reference in references]
    return [_sentence_bleu(most, lengths, caption) for caption in captions]


def _sentence_bleu(most: Counter[tuple[int, ...]], lengths: Sequence[int], caption: Tokens) -> float:
    if not caption:
        return 0.0
    right, written = [0] * ORDERS, [max(len(caption) - order, 0) for order in range(ORDERS)]
    for ngram, count in _ngrams(caption).items():
        right[len(ngram) - 1] += min(count, most[ngram])
    if not right[0]:
        return 0.0
    logs = [math.log((right[n] + (n > 0)) / (written[n] + (n > 0))) for n in range(ORDERS)]
    closest = min(lengths, key=lambda length: (abs(length - len(caption)), length))
    return math.exp(sum(logs) / ORDERS + min(0.0, 1.0 - closest / len(caption)))


def _max_counts(counts: Iterable[Counter[tuple[int, ...]]]) -> Counter[tuple[int, ...]]:
    """The largest count of each n-gram in any reference."""
    most: Counter[tuple[int, ...]] = Counter()
    for reference in counts:
        most |= reference
    return most
