"""Input and target sequences of the tasks of Graves et al. 2014, section 4.

Arrays hold a whole batch of equal length. The bits of a vector are the first channels, flags follow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ITEM_VECTORS",
    "ORDER",
    "BitSequence",
    "Bits",
    "Floats",
    "Sequences",
    "associative_recall",
    "bit_text",
    "copy",
    "n_grams",
    "optimal_probabilities",
    "parse_bits",
    "priority_sort",
    "repeat_copy",
]

Bits = NDArray[np.uint8]
Floats = NDArray[np.float32]

ITEM_VECTORS = 3
"""Vectors of an item in associative recall."""
ORDER = 6
"""Order of the n-grams: a bit depends on the five before it."""
KEPT = 0.8
"""Share of the vectors that priority sort writes: 16 of 20."""
_REPEATS = 5.5, 8.25**0.5
"""Mean and standard deviation of a uniform number from 1 to 10, by which all numbers of repeats are normalised."""


class Sequences(NamedTuple):
    """A batch.

    Args:
        inputs: (batch, steps, channels).
        targets: (batch, answers, outputs), the targets of the last ``answers`` steps.
    """

    inputs: Floats
    targets: Bits


class BitSequence(NamedTuple):
    """The condition of an item: a row of ``Sequences`` and its task's name."""

    task: str
    inputs: Floats
    targets: Bits


def copy(vectors: Bits) -> Sequences:
    """Input: vectors (batch, length, bits), a flag. Target: the vectors (section 4.1)."""
    batch, length, bits = vectors.shape
    inputs = np.zeros((batch, 2 * length + 1, bits + 1), np.float32)
    inputs[:, :length, :bits] = vectors
    inputs[:, length, bits] = 1
    return Sequences(inputs, vectors)


def repeat_copy(vectors: Bits, repeats: int) -> Sequences:
    """Input: vectors (batch, length, bits), a flag with the number of repeats. Target: the vectors repeated, an end marker.

    The number is normalised to mean 0 and variance 1 over 1 to 10 (section 4.2). The marker is an output channel of its own.
    """
    batch, length, bits = vectors.shape
    answers = length * repeats + 1
    inputs = np.zeros((batch, length + 1 + answers, bits + 2), np.float32)
    inputs[:, :length, :bits] = vectors
    inputs[:, length, bits:] = 1, (repeats - _REPEATS[0]) / _REPEATS[1]
    targets = np.zeros((batch, answers, bits + 1), np.uint8)
    targets[:, :-1, :bits] = np.tile(vectors, (1, repeats, 1))
    targets[:, -1, bits] = 1
    return Sequences(inputs, targets)


def associative_recall(items: Bits, asked: NDArray[np.int64]) -> Sequences:
    """Input: items, each after a flag; then a query item between flags of another kind. Target: the item that followed it
    (section 4.3).

    Args:
        items: (batch, count, vectors, bits), at least two items.
        asked: (batch,) index of the query item, from 0 to count - 2.
    """
    batch, count, size, bits = items.shape
    rows = np.arange(batch)
    read = count * (size + 1)
    inputs = np.zeros((batch, read + 2 + 2 * size, bits + 2), np.float32)
    grouped = inputs[:, :read].reshape(batch, count, size + 1, bits + 2)
    grouped[:, :, 0, bits] = 1
    grouped[:, :, 1:, :bits] = items
    inputs[:, :read] = grouped.reshape(batch, read, bits + 2)
    inputs[:, [read, read + size + 1], bits + 1] = 1
    inputs[:, read + 1 : read + 1 + size, :bits] = items[rows, asked]
    return Sequences(inputs, items[rows, asked + 1])


def n_grams(bits: Bits) -> Sequences:
    """Input: bits (batch, length), one per step. Target: the next bit, from the sixth bit on (section 4.4)."""
    return Sequences(bits[:, :-1, None].astype(np.float32), bits[:, ORDER - 1 :, None])


def priority_sort(vectors: Bits, priorities: NDArray[np.float64]) -> Sequences:
    """Input: vectors with their priorities, a flag. Target: the four fifths with the highest priorities, highest first
    (section 4.5).

    Args:
        vectors: (batch, count, bits).
        priorities: (batch, count) from -1 to 1.
    """
    batch, count, bits = vectors.shape
    kept = max(1, round(KEPT * count))
    inputs = np.zeros((batch, count + 1 + kept, bits + 2), np.float32)
    inputs[:, :count, :bits] = vectors
    inputs[:, :count, bits] = priorities
    inputs[:, count, bits + 1] = 1
    order = np.argsort(-priorities, axis=1, kind="stable")[:, :kept, None]
    return Sequences(inputs, np.take_along_axis(vectors, order, 1))


def optimal_probabilities(bits: Bits) -> NDArray[np.float64]:
    """P(1) under the optimal estimator for each bit with five before it: (N1 + 1/2) / (N1 + N0 + 1), where N1 and N0 count the
    ones and zeros that followed the same five bits so far (eq. 10).

    Args:
        bits: (batch, length).
    Returns:
        (batch, length - 5).
    """
    windows = np.lib.stride_tricks.sliding_window_view(bits[:, :-1], ORDER - 1, axis=1)
    contexts = windows @ (1 << np.arange(ORDER - 1))
    following = bits[:, ORDER - 1 :]
    before = np.tri(following.shape[1], k=-1, dtype=bool)
    same = (contexts[:, :, None] == contexts[:, None, :]) & before
    ones, all = (same & (following[:, None, :] == 1)).sum(2), same.sum(2)
    return (ones + 0.5) / (all + 1.0)


def bit_text(vectors: Bits) -> str:
    """Bits (steps, outputs) as a text: ``01101001 11010010``."""
    return " ".join("".join("01"[bit] for bit in vector) for vector in vectors)


def parse_bits(text: str) -> Bits:
    """Bits (steps, outputs) of a text as ``bit_text`` writes it."""
    return np.array([[character == "1" for character in vector] for vector in text.split()], np.uint8)
