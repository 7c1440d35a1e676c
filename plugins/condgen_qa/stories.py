"""Questions with their stories, as the tensors that the networks read."""

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
        words: (texts, longest) token ids of every different sentence and question; padding is -1.
        stories: (batch, sentences) rows of ``words``, the latest sentence first; padding is any row.
        times: (batch, sentences) how many sentences before the question each one stands, from 0.
        lengths: (batch,) sentences of each story.
        questions: (batch,) rows of ``words``.
    """

    words: Tensor
    stories: Tensor
    times: Tensor
    lengths: Tensor
    questions: Tensor


class Questions(NamedTuple):
    """What ``predict`` reads: tensors, and what they were made of.

    Args:
        stories: the tensors.
        sentences: of each item those in the memory, in the story's order.
        warnings: what the user should be told of each item.
        doubts: of the answer to each.
    """

    stories: Stories
    sentences: list[tuple[str, ...]]
    warnings: list[tuple[str, ...]]
    doubts: list[str]


def pad_rows(rows: Sequence[Iterable[int]], padding: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of different lengths as (rows, longest), and the lengths (rows,)."""
    lists = [list(row) for row in rows]
    lengths = np.array([len(row) for row in lists])
    table = np.full((len(lists), lengths.max(initial=1)), padding)
    table[np.arange(table.shape[1]) < lengths[:, None]] = np.fromiter(chain.from_iterable(lists), np.int64, lengths.sum())
    return table, lengths
