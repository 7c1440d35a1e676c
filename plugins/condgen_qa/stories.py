"""Batches of questions with their stories."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Questions", "Stories", "pad_rows"]


class Stories(NamedTuple):
    """A batch of questions with their stories, as tensors.

    Args:
        words: (texts, longest) token ids of each different sentence and question; -1 is padding.
        stories: (batch, sentences) rows of ``words``, the latest sentence first; padding is any row.
        times: (batch, sentences) distance of each sentence from the question, from 0.
        lengths: (batch,) number of sentences.
        questions: (batch,) rows of ``words``.
    """

    words: Tensor
    stories: Tensor
    times: Tensor
    lengths: Tensor
    questions: Tensor


class Questions(NamedTuple):
    """A batch for ``predict``.

    Args:
        stories: the tensors.
        sentences: each item's sentences in the memory, in the story's order.
        warnings: warnings for each item.
        doubts: doubt of each item's answer, empty for none.
    """

    stories: Stories
    sentences: list[tuple[str, ...]]
    warnings: list[tuple[str, ...]]
    doubts: list[str]


def pad_rows(rows: Sequence[Iterable[int]], padding: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows padded to (rows, longest), and their lengths (rows,)."""
    lists = [list(row) for row in rows]
    lengths = np.array([len(row) for row in lists])
    table = np.full((len(lists), lengths.max(initial=1)), padding)
    table[np.arange(table.shape[1]) < lengths[:, None]] = np.fromiter(chain.from_iterable(lists), np.int64, lengths.sum())
    return table, lengths
