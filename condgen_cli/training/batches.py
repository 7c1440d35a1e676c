"""The batches of an epoch: examples of similar length together, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Epoch", "batches_of_like_length", "full_batches", "teacher_forcing"]


class Epoch:
    """The batches of one epoch, each made when the iteration reaches it.

    Args:
        plan: for each batch, the argument that it is made from, such as the indices of its examples.
        batch: function from an element of the plan and a random generator to a batch.
        seed: seed of the random generator, which the batches of the epoch use one after the other.
    """

    def __init__(self, plan: Sequence[Any], batch: Callable[[Any, np.random.Generator], Any], seed: Sequence[int]) -> None:
        self.plan = plan
        self._batch = batch
        self._seed = seed

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[Any]:
        rng = np.random.default_rng(self._seed)
        for part in self.plan:
            yield self._batch(part, rng)


def teacher_forcing(sequences: Sequence[Sequence[int]], bos: int, eos: int, pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs and targets of a decoder under teacher forcing, padded to the longest sequence.

    Returns:
        inputs (rows, longest + 1), each beginning with ``bos``; targets (rows, longest + 1), each ending with ``eos``; lengths
        (rows,) without padding.
    """
    lengths = torch.tensor([len(sequence) + 1 for sequence in sequences])
    inputs = torch.full((len(sequences), int(lengths.max())), pad)
    targets = torch.full_like(inputs, pad)
    for row, sequence in enumerate(sequences):
        inputs[row, : len(sequence) + 1] = torch.tensor([bos, *sequence])
        targets[row, : len(sequence) + 1] = torch.tensor([*sequence, eos])
    return inputs, targets, lengths


def batches_of_like_length(
    sizes: NDArray[np.int64], batch_size: int, rng: np.random.Generator, parts: int = 10
) -> NDArray[np.int64]:
    """Indices of an epoch's examples (batches, batch_size), with examples of similar size in each batch.

    The shuffled examples are divided into ``parts`` parts, sorted by size within each, and cut into batches, whose order is
    shuffled: little padding, still random. An incomplete last batch is dropped, unless it is the only one.
    """
    shuffled = np.array_split(rng.permutation(len(sizes)), parts)
    return full_batches(np.concatenate([part[np.argsort(sizes[part], kind="stable")] for part in shuffled]), batch_size, rng)


def full_batches(order: NDArray[np.int64], batch_size: int, rng: np.random.Generator | None = None) -> NDArray[np.int64]:
    """Cut indices of examples into batches of one size, (batches, batch_size); ``rng`` shuffles the batches.

    An incomplete last batch is dropped, unless it is the only one.
    """
    size = min(batch_size, len(order)) or 1
    count = len(order) // size
    batches = order[: count * size].reshape(count, size)
    return batches if rng is None else batches[rng.permutation(count)]
