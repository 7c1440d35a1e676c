"""What an epoch consists of: examples of like length in batches, in an order that seed and epoch decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Epoch", "batches_of_like_length", "full_batches", "teacher_forcing"]


class Epoch:
    """The batches of one epoch, each made when it is asked for.

    Args:
        plan: what each batch is made of, such as the indices of its examples.
        batch: makes a batch of one element of the plan and a generator of random numbers.
        seed: of that generator, which all batches of the epoch share in their order.
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
    """What a decoder reads and what it should write.

    Returns:
        inputs (rows, longest + 1) that start with ``bos``, targets (rows, longest + 1) that end with ``eos``, lengths (rows,).
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
    """An epoch's order: (batches, batch_size) indices of examples. A last batch that isn't full is left out.

    The shuffled examples are sorted by size within so many parts, then cut into batches, whose order is shuffled: little
    padding, still random. Examples that are fewer than a batch are one smaller batch.
    """
    shuffled = np.array_split(rng.permutation(len(sizes)), parts)
    return full_batches(np.concatenate([part[np.argsort(sizes[part], kind="stable")] for part in shuffled]), batch_size, rng)


def full_batches(order: NDArray[np.int64], batch_size: int, rng: np.random.Generator | None = None) -> NDArray[np.int64]:
    """Indices of examples cut into batches of one size, (batches, batch_size); the batches are shuffled if there is an ``rng``.

    A last batch that isn't full is left out, unless it is the only one.
    """
    size = min(batch_size, len(order)) or 1
    count = len(order) // size
    batches = order[: count * size].reshape(count, size)
    return batches if rng is None else batches[rng.permutation(count)]
