"""Edit alignments of words, printed in the format of NIST's sclite."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import jiwer
import numpy as np
from rich.cells import cell_len

from condgen_cli.terminal.printable import printable

__all__ = ["Alignment", "Weights", "Words", "align", "closest_alignment", "total_line"]

Pair = tuple[str | None, str | None]
Words = Callable[[str], list[str]]
"""A function that splits a text into words."""


class Weights(StrEnum):
    """Costs of the errors in an alignment."""

    plain = "plain"
    """1 for each error: Levenshtein distance, as in WER."""
    sclite = "sclite"
    """4 for a substitution, 3 for a deletion or an insertion."""


@dataclass(frozen=True)
class Alignment:
    """An alignment of the words of a reference and a hypothesis: (word, None) is a deletion, (None, word) an insertion."""

    pairs: tuple[Pair, ...]

    @property
    def correct(self) -> int:
        return sum(reference == hypothesis for reference, hypothesis in self.pairs)

    @property
    def substitutions(self) -> int:
        return len(self.pairs) - self.correct - self.deletions - self.insertions

    @property
    def deletions(self) -> int:
        return sum(hypothesis is None for _, hypothesis in self.pairs)

    @property
    def insertions(self) -> int:
        return sum(reference is None for reference, _ in self.pairs)

    @property
    def rate(self) -> float:
        """Errors as a percentage of the reference's words, or of 1 if it is empty."""
        return 100 * (len(self.pairs) - self.correct) / max(len(self.pairs) - self.insertions, 1)

    def as_json(self) -> dict[str, object]:
        counts = {"substitutions": self.substitutions, "deletions": self.deletions, "insertions": self.insertions}
        return {"correct": self.correct, **counts, "pairs": [list(pair) for pair in self.pairs]}

    def text(self, name: str) -> str:
        """Five lines: id, counts, reference, hypothesis, kinds of error.

        Words in error are in capitals, or unchanged if they differ in case alone; gaps are asterisks. Columns line up on a
        terminal in any script. Control characters are escaped.
        """
        counts = f"{self.correct} {self.substitutions} {self.deletions} {self.insertions}"
        columns = [_column(reference, hypothesis) for reference, hypothesis in self.pairs]
        rows = [" ".join(cells).rstrip() for cells in zip(*columns, strict=True)] or ["", "", ""]
        lines = [f"id: ({printable(name)})", f"Scores: (#C #S #D #I) {counts}"]
        labels = ("REF:", "HYP:", "Eval:")
        return "\n".join([*lines, *(f"{label:<6}{row}".rstrip() for label, row in zip(labels, rows, strict=True))])


def _column(reference: str | None, hypothesis: str | None) -> tuple[str, str, str]:
    """The cells of a pair (reference, hypothesis, kind of error), of equal width on a terminal."""
    if reference == hypothesis:
        word = printable(reference or "")
        return word, word, " " * cell_len(word)
    kind = "I" if reference is None else "D" if hypothesis is None else "S"
    upper, lower = _error(reference, hypothesis)
    width = max(cell_len(upper or ""), cell_len(lower or ""))
    return _pad(upper or "*" * width, width), _pad(lower or "*" * width, width), _pad(kind, width)


def _error(reference: str | None, hypothesis: str | None) -> tuple[str | None, str | None]:
    """The words of an error: in capitals; unchanged if they differ in case alone; escaped if they still look alike."""
    for show in (_in_capitals, printable, _escape):
        upper, lower = (None if word is None else show(word) for word in (reference, hypothesis))
        visible = [_visible(word) for word in (upper, lower) if word is not None]
        if all(visible) and len(set(visible)) == len(visible):
            break
    return upper, lower


def _in_capitals(word: str) -> str:
    return printable(word.upper())


def _escape(word: str) -> str:
    return word.encode("unicode_escape").decode()


def _visible(word: str) -> str:
    """A word in normal form NFC without invisible format characters, as a reader sees it."""
    return "".join(c for c in unicodedata.normalize("NFC", word) if unicodedata.category(c) != "Cf")


def _pad(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def align(reference: str, hypothesis: str, weights: Weights = Weights.plain, split: Words = str.split) -> Alignment:
    """The alignment of two texts with the lowest cost; ``split`` splits a text into words without white space."""
    words, written = split(reference), split(hypothesis)
    pairs = _plain(words, written) if weights is Weights.plain else _sclite(words, written)
    return Alignment(tuple(pairs))


def closest_alignment(
    references: Iterable[str], hypothesis: str, weights: Weights = Weights.plain, split: Words = str.split
) -> Alignment:
    """The alignment with the lowest error rate among the references, the first of equals; without references, with an empty
    one.
    """
    found = (align(reference, hypothesis, weights, split) for reference in list(references) or [""])
    return min(found, key=lambda alignment: alignment.rate)


def total_line(alignments: Sequence[Alignment], weights: Weights) -> str:
    """A line with the counts over all alignments and their error rate."""
    correct, substitutions, deletions, insertions = (
        sum(getattr(alignment, kind) for alignment in alignments)
        for kind in ("correct", "substitutions", "deletions", "insertions")
    )
    errors = substitutions + deletions + insertions
    rate = 100 * errors / max(correct + substitutions + deletions, 1)
    return f"total ({weights}): #C {correct} #S {substitutions} #D {deletions} #I {insertions}, {rate:.2f} % errors"


def _plain(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Pair]:
    pairs: list[Pair] = []
    for chunk in jiwer.process_words(" ".join(reference), " ".join(hypothesis)).alignments[0]:
        words = reference[chunk.ref_start_idx : chunk.ref_end_idx]
        written = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
        if chunk.type == "delete":
            pairs += [(word, None) for word in words]
        elif chunk.type == "insert":
            pairs += [(None, word) for word in written]
        else:
            pairs += zip(words, written, strict=True)
    return pairs


def _sclite(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Pair]:
    substitution, gap = 4, 3
    rows, columns = len(reference) + 1, len(hypothesis) + 1
    cost = np.zeros((rows, columns), int)
    cost[:, 0] = gap * np.arange(rows)
    cost[0, :] = gap * np.arange(columns)
    for i in range(1, rows):
        for j in range(1, columns):
            both = cost[i - 1, j - 1] + substitution * (reference[i - 1] != hypothesis[j - 1])
            cost[i, j] = min(both, cost[i - 1, j] + gap, cost[i, j - 1] + gap)

    pairs: list[Pair] = []
    i, j = rows - 1, columns - 1
    while i or j:
        both = i and j and cost[i - 1, j - 1] + substitution * (reference[i - 1] != hypothesis[j - 1])
        if i and j and cost[i, j] == both:
            i, j = i - 1, j - 1
            pairs.append((reference[i], hypothesis[j]))
        elif i and cost[i, j] == cost[i - 1, j] + gap:
            i -= 1
            pairs.append((reference[i], None))
        else:
            j -= 1
            pairs.append((None, hypothesis[j]))
    return pairs[::-1]
