"""Metrics of replies: diversity, and use of context."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from condgen_cli.generation import Generation
from condgen_cli.metrics import Metric

if TYPE_CHECKING:
    from condgen_cli.item import Item

__all__ = ["Blandness", "ContextProbe", "greets", "words"]

COMMONEST = 10
_WORD = re.compile(r"\w+(?:['’]\w+)*")
_GREETING = re.compile(
    r"\W*(?:(?:oh|well|why|and|ah)\W+)?"
    r"(?:hi+|he+y+|hello+|hiya|heya|howdy|greetings|sup|good (?:morning|afternoon|evening|day)|what'?s up)\b"
)


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return _WORD.findall(text.casefold())


def greets(text: str) -> bool:
    """Whether a text begins with a greeting."""
    return _GREETING.match(text.casefold()) is not None


class Blandness(Metric):
    """Diversity of replies.

    ``distinct1`` and ``distinct2`` are the shares of distinct n-grams among all n-grams of all replies, percent (Li et al.
    2016); ``reply_length`` is in words; ``common_replies`` is the share of the ten most common replies, percent. Replies that
    differ only in case and punctuation count as equal.

    Statistics of a reply: for n = 1, 2 the sum over its n-grams of 1 / (the n-gram's count in the whole set), and the number of
    its n-grams; its number of words; whether it is among the ten most common. So distinct-n is a ratio of sums, exact for the
    set, and to first order for a bootstrap sample, in which copies of an item would otherwise count as repetition.
    """

    keys = ("distinct1", "distinct2", "reply_length", "common_replies")
    signature = "case:lower|tok:words"
    reads_blanks = True
    item_key = "reply_length"

    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        replies = [words(str(one.output)) for one in generations]
        ngrams = [(reply, list(pairwise(reply))) for reply in replies]
        counts = [Counter(ngram for both in ngrams for ngram in both[size]) for size in (0, 1)]
        common = {reply for reply, _ in Counter(map(tuple, replies)).most_common(COMMONEST)}
        rows = [
            [
                *(number for size in (0, 1) for number in (sum(1 / counts[size][one] for one in both[size]), len(both[size]))),
                len(reply),
                tuple(reply) in common,
            ]
            for reply, both in zip(replies, ngrams, strict=True)
        ]
        return np.array(rows, np.float64).reshape(-1, 6)

    def score(self, totals: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
        ones, all_ones, twos, all_twos, length, common = np.moveaxis(totals, -1, 0)
        return {
            "distinct1": 100 * ones / np.maximum(all_ones, 1),
            "distinct2": 100 * twos / np.maximum(all_twos, 1),
            "reply_length": length / n,
            "common_replies": 100 * common / n,
        }

    def remarks(self, items: Sequence[Item], totals: NDArray[np.float64]) -> dict[str, str]:
        found = {} if totals[1] else dict.fromkeys(self.keys[:3], "no reply has a word")
        if totals[5] == len(items):
            found["common_replies"] = f"100, as there are at most {COMMONEST} different replies"
        return found


def _greets_again(reply: str, item: Item) -> bool:
    return greets(reply)


def _names(reply: str, item: Item) -> bool:
    """Whether the reply has one of the item's words."""
    return not set(item.meta["words"]).isdisjoint(words(reply))


_PROBES: Mapping[str, tuple[str, Callable[[str, Item], bool]]] = {
    "greets_again": ("greeting", _greets_again),
    "recalls_first": ("first", _names),
    "follows_topic": ("topic", _names),
}


class ContextProbe(Metric):
    """Use of context on the data set ``context-probe``.

    Percent of the replies that greet although both sides have greeted (``greets_again``), that name what was said first when
    asked for it (``recalls_first``), and that name the new topic (``follows_topic``).

    Statistics: for each score the replies that do, and the replies where it applies.
    """

    keys = tuple(_PROBES)
    signature = "probe:first-words"
    item_key = "greets_again"
    lower_is_better = True

    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        rows = []
        for item, generation in zip(items, generations, strict=True):
            row = []
            for kind, does in _PROBES.values():
                asked = item.meta.get("probe") == kind
                row += [asked and does(str(generation.output), item), asked]
            rows.append(row)
        return np.array(rows, np.float64).reshape(-1, 2 * len(_PROBES))

    def score(self, totals: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
        does, asked = totals[..., 0::2], totals[..., 1::2]
        share = 100 * np.divide(does, asked, out=np.full_like(does, np.nan), where=asked > 0)
        return {key: share[..., column] for column, key in enumerate(self.keys)}

    def remarks(self, items: Sequence[Item], totals: NDArray[np.float64]) -> dict[str, str]:
        return {key: "no item of the data tests it" for key, asked in zip(self.keys, totals[1::2], strict=True) if not asked}
