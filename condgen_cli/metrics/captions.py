"""Caption metrics, computed by coco-caption's scorers (``pycocoevalcap``) on the tokens of ``caption_tokens``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider_scorer import CiderScorer
from pycocoevalcap.rouge.rouge import Rouge

from condgen_cli.data.text import CAPTION_TOKENISATION, caption_tokens
from condgen_cli.generation import Generation
from condgen_cli.metrics import Metric
from condgen_cli.metrics.words import NO_TEXT, hold_text

if TYPE_CHECKING:
    from condgen_cli.item import Item

__all__ = ["CaptionBleu", "Cider", "RougeL"]

_SIGNATURE = f"case:lc|tok:{CAPTION_TOKENISATION}|version:pycocoevalcap-{version('pycocoevalcap')}"
_ORDERS = 4


def _ngrams(text: str) -> frozenset[tuple[str, ...]]:
    words = text.split()
    sizes = range(1, _ORDERS + 1)
    return frozenset(tuple(words[start : start + size]) for size in sizes for start in range(len(words) - size + 1))


@lru_cache(maxsize=1 << 16)  # all metrics need the same texts
def _tokenise(text: str) -> str:
    return " ".join(caption_tokens(text))


def _pairs(items: Sequence[Item], generations: Sequence[Generation]) -> list[tuple[str, list[str]]]:
    """The tokenised (hypothesis, references) of each item."""
    return [
        (_tokenise(generation.output), [_tokenise(reference) for reference in item.references])
        for item, generation in zip(items, generations, strict=True)
    ]


class CaptionBleu(Metric):
    """Corpus BLEU with several references; the brevity penalty uses the one closest in length, or the shorter of two.

    Statistics: numbers of words of the hypothesis, of words of the closest reference, of matching n-grams of orders 1 to 4, and
    of n-grams of orders 1 to 4.
    """

    keys = ("bleu1", "bleu2", "bleu3", "bleu4")
    signature = _SIGNATURE
    reads_blanks = True

    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        scorer = BleuScorer(n=_ORDERS)
        for pair in _pairs(items, generations):
            scorer += pair
        rows = [
            [test["testlen"], _closest(test["testlen"], test["reflen"]), *test["correct"], *test["guess"]]
            for test in scorer.ctest
        ]
        return np.array(rows, np.float64).reshape(-1, 2 + 2 * _ORDERS)

    def score(self, totals: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
        small, tiny = 1e-9, 1e-15  # coco-caption's guards against division by zero, which affect its scores
        length, reference_length = totals[..., 0], totals[..., 1]
        precision = (totals[..., 2 : 2 + _ORDERS] + tiny) / (totals[..., 2 + _ORDERS :] + small)
        ratio = (length + tiny) / (reference_length + small)
        brevity = np.exp(np.minimum(0.0, 1 - 1 / ratio))
        product = np.cumprod(precision, axis=-1)
        return {key: 100 * brevity * product[..., index] ** (1 / (index + 1)) for index, key in enumerate(self.keys)}

    def remarks(self, items: Sequence[Item], totals: NDArray[np.float64]) -> dict[str, str]:
        if not hold_text(items):
            return dict.fromkeys(self.keys, NO_TEXT)
        counts = zip(self.keys, totals[2 + _ORDERS :], strict=True)
        return {key: f"it is nearly 0, as no output has {key[-1]} words" for key, count in counts if not count}


def _closest(length: int, reference_lengths: Sequence[int]) -> int:
    return min((abs(reference - length), reference) for reference in reference_lengths)[1]


class Cider(Metric):
    """CIDEr-D; the document frequency of an n-gram is the number of scored items with it in their references.

    So the value of an item depends on the set that it is scored in; resampling keeps the document frequencies of the whole set.
    Statistics: the item's value.
    """

    keys = ("cider",)
    signature = _SIGNATURE
    reads_blanks = True
    item_key = "cider"

    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        scorer = CiderScorer(n=_ORDERS)
        for pair in _pairs(items, generations):
            scorer += pair
        scorer.compute_doc_freq()
        values = scorer.compute_cider() if items else []
        return np.array(values, np.float64).reshape(-1, 1)

    def score(self, totals: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
        return {"cider": totals[..., 0] / n}

    def remarks(self, items: Sequence[Item], totals: NDArray[np.float64]) -> dict[str, str]:
        if not hold_text(items):
            return {"cider": NO_TEXT}
        of_items = (frozenset().union(*map(_ngrams, map(_tokenise, item.references))) for item in items)
        first = next(of_items)
        if any(ngrams != first for ngrams in of_items):
            return {}
        why = "of 1 item" if len(items) == 1 else "whose references are all alike"
        return {"cider": f"it is 0 for any output {why}: it weighs n-grams by how few items of the set have them"}


class RougeL(Metric):
    """ROUGE-L: the mean over items of the F-measure (beta 1.2) of the best precision and the best recall.

    Statistics: the item's F-measure.
    """

    keys = ("rouge_l",)
    signature = _SIGNATURE
    reads_blanks = True
    item_key = "rouge_l"

    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        rouge = Rouge()
        values = [rouge.calc_score([hypothesis], references) for hypothesis, references in _pairs(items, generations)]
        return np.array(values, np.float64).reshape(-1, 1)

    def score(self, totals: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
        return {"rouge_l": 100 * totals[..., 0] / n}

    def remarks(self, items: Sequence[Item], totals: NDArray[np.float64]) -> dict[str, str]:
        return {} if hold_text(items) else {"rouge_l": NO_TEXT}
