"""Word and character error rates, computed by jiwer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

import jiwer
import numpy as np
from numpy.typing import NDArray

from condgen_cli.generation import Generation
from condgen_cli.metrics import Metric
from condgen_cli.metrics.words import NO_TEXT, hold_text

if TYPE_CHECKING:
    from condgen_cli.item import Item

__all__ = ["CharacterErrors", "WordErrors", "edit_counts"]

_SIGNATURE = f"case:mixed|tok:{{}}|version:jiwer-{version('jiwer')}"
_BLANKS = "space"

Output = jiwer.WordOutput | jiwer.CharacterOutput


def _normalise_spaces(text: str) -> str:
    """The text with single spaces between words."""
    return " ".join(text.split())


def edit_counts(process: Callable[[str, str], Output], references: Sequence[str], hypothesis: str) -> list[int]:
    """Substitutions, deletions, insertions and reference length for the reference with the lowest error rate.

    Of equal rates, the first reference counts. Without references, the reference is empty.
    """
    outputs = [process(_normalise_spaces(reference), _normalise_spaces(hypothesis)) for reference in references or ("",)]
    counts = [[o.substitutions, o.deletions, o.insertions, o.hits + o.substitutions + o.deletions] for o in outputs]
    return min(counts, key=lambda count: sum(count[:3]) / max(count[3], 1))


def _statistics(
    process: Callable[[str, str], Output], items: Sequence[Item], generations: Sequence[Generation]
) -> NDArray[np.float64]:
    pairs = zip(items, generations, strict=True)
    rows = [edit_counts(process, item.references, generation.output) for item, generation in pairs]
    return np.array(rows, np.float64).reshape(-1, 4)


def _rate(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Errors as a percentage of the reference's length, or of 1 if it is empty."""
    return 100 * totals[..., :3].sum(-1) / np.maximum(totals[..., 3], 1)


class WordErrors(Metric):
    """Word error rate: Levenshtein distance in words, as a percentage of the words of the references.

    Words are separated at white space and compared unchanged. Of several references the closest counts. If the references have
    no words, the rate is a percentage of one word, as in jiwer.
    Statistics: numbers of substitutions, deletions, insertions, and words of the reference.

    Args:
        tokenize: ``char``: every character but white space is a word; empty: words are separated at white space.
        language: unused.
    """

    keys = ("wer", "substitutions", "deletions", "insertions")
    signature: str = ""
    item_key = "wer"
    lower_is_better = True

    def __init__(self, tokenize: str = "", language: str = "") -> None:
        self.signature = _SIGNATURE.format(tokenize or _BLANKS)
        self.reads_blanks = not tokenize

    def words(self, text: str) -> list[str]:
        """The words of a text."""
        return text.split() if self.reads_blanks else list("".join(text.split()))

    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        def process(reference: str, hypothesis: str) -> jiwer.WordOutput:
            return jiwer.process_words(" ".join(self.words(reference)), " ".join(self.words(hypothesis)))

        return _statistics(process, items, generations)

    def score(self, totals: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
        counts = {key: totals[..., index] for index, key in enumerate(self.keys[1:])}
        return {"wer": _rate(totals), **counts}

    def remarks(self, items: Sequence[Item], totals: NDArray[np.float64]) -> dict[str, str]:
        return {} if hold_text(items) else {"wer": f"{NO_TEXT}: errors are counted in percent of 1 word, as jiwer does"}


class CharacterErrors(Metric):
    """Character error rate, including spaces between words; statistics as for ``WordErrors``, in characters."""

    keys = ("cer",)
    signature = _SIGNATURE.format(_BLANKS)
    item_key = "cer"
    lower_is_better = True

    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        return _statistics(jiwer.process_characters, items, generations)

    def score(self, totals: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
        return {"cer": _rate(totals)}

    def remarks(self, items: Sequence[Item], totals: NDArray[np.float64]) -> dict[str, str]:
        return {} if hold_text(items) else {"cer": f"{NO_TEXT}: errors are counted in percent of 1 character, as jiwer does"}
