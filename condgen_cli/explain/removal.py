"""Removal: what remains of a token's log-probability when positions of the memory, or parts of the input, are taken away."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from condgen_cli.generation import Axis
from condgen_cli.item import Item
from condgen_cli.model import Memory, Model, Predictor, SequenceModel

__all__ = ["Batch", "InputRemoval", "MemoryRemoval", "Removal", "hide", "mean_position", "token_log_probs"]

Batch = NDArray[np.bool_]

LARGEST = 6_000_000
"""Largest number of values of the memories, or of logits, that are computed at once: 24 MB."""
INPUTS = 16
"""Number of inputs with hidden parts that are encoded at once."""


class Removal(ABC):
    """A model, an input and an output of T tokens, of which parts can be taken away.

    Attributes:
        axes: axes of the positions that can be removed.
    """

    axes: tuple[Axis, ...]

    @property
    def count(self) -> int:
        """Number of positions."""
        return int(np.prod([len(axis) for axis in self.axes], dtype=int))

    @abstractmethod
    def log_probs(self, hidden: Batch, steps: int | None = None) -> NDArray[np.float64]:
        """Natural log-probabilities (rows, steps) of the output's first tokens, for each row of positions that are removed.

        Args:
            hidden: (rows, positions), True for positions to remove.
            steps: number of tokens; None: all.
        """


@dataclass
class MemoryRemoval(Removal):
    """Positions of the memory are removed: replaced by the mean of the memory's real positions, values and keys alike.

    For keys that are linear in the values, the key of the mean is the mean of the keys. The vector from which a decoder starts
    and auxiliary tensors stay: what is measured is what the decoder reads from the positions.

    Args:
        model: the model, in evaluation mode.
        memory: the memory of one input.
        ids: (T,) the output's tokens.
        axes: axes of the real positions.
    """

    model: SequenceModel
    memory: Memory
    ids: Sequence[int]
    axes: tuple[Axis, ...]

    @torch.inference_mode()
    def log_probs(self, hidden: Batch, steps: int | None = None) -> NDArray[np.float64]:
        ids = self.ids[:steps]
        memory = self.memory
        each = max(memory.values[0].numel(), len(ids) * len(self.model.vocabulary), 1)
        chosen = torch.from_numpy(hidden).to(memory.values.device)
        if memory.mask is not None:  # padding stays as it is
            whole = torch.zeros(len(chosen), memory.values.shape[1], dtype=torch.bool, device=chosen.device)
            whole[:, memory.mask[0]] = chosen
            chosen = whole
        parts = [
            token_log_probs(self.model, self.model.refresh(hide(memory, rows)), ids).cpu().double().numpy()
            for rows in torch.split(chosen, max(1, LARGEST // each))
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(ids)))


def mean_position(memory: Memory, vectors: Tensor) -> Tensor:
    """The mean (1, 1, size) of vectors (1, positions, size) over the real positions of the memory of one input."""
    if memory.mask is None:
        return vectors.mean(1, keepdim=True)
    real = memory.mask.unsqueeze(2).to(vectors)
    return (vectors * real).sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp(min=1)


def hide(memory: Memory, hidden: Tensor) -> Memory:
    """Copies of the memory of one input, in each of which the positions ``hidden`` (rows, positions) are the memory's mean."""

    def replaced(vectors: Tensor) -> Tensor:
        return torch.where(hidden.unsqueeze(2), mean_position(memory, vectors), vectors)

    rows = torch.zeros(len(hidden), dtype=torch.long, device=hidden.device)
    rest = replace(memory, values=memory.values[:, :0], keys=None).select(rows)
    return replace(rest, values=replaced(memory.values), keys=None if memory.keys is None else replaced(memory.keys))


def token_log_probs(model: SequenceModel, memory: Memory, ids: Sequence[int]) -> Tensor:
    """Natural log-probabilities (rows, T) of tokens ``ids`` (T,), at least one, for each row of the memory, by teacher
    forcing."""
    wanted = torch.tensor(list(ids), device=memory.values.device).expand(len(memory), -1)
    begin = torch.full((len(memory), 1), model.vocabulary.bos, device=wanted.device)
    logits = model.forward(memory, torch.cat([begin, wanted[:, :-1]], 1)).float()
    return logits.gather(2, wanted.unsqueeze(2)).squeeze(2) - logits.logsumexp(2)


@dataclass
class InputRemoval(Removal):
    """Parts of the input are hidden, and the input is encoded again.

    Args:
        model: the model, in evaluation mode.
        item: the input.
        axes: axes of its parts, ``model.parts(item)``.
        ids: (T,) the output's tokens, for a ``SequenceModel``.
        tokens: (T,) the output's tokens as texts, for a ``Predictor``.
        move: moves a batch to the model's device.
    """

    model: Model
    item: Item
    axes: tuple[Axis, ...]
    ids: Sequence[int]
    tokens: Sequence[str]
    move: Callable[[Any], Any]

    @torch.inference_mode()
    def log_probs(self, hidden: Batch, steps: int | None = None) -> NDArray[np.float64]:
        copies = self.model.occlude(self.item, hidden)
        parts = [self._log_probs(copies[first : first + INPUTS], steps) for first in range(0, len(copies), INPUTS)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.tokens[:steps])))

    def _log_probs(self, items: Sequence[Item], steps: int | None) -> NDArray[np.float64]:
        batch = self.move(self.model.collate(items))
        if isinstance(self.model, Predictor):
            return np.array(self.model.score(batch, [self.tokens] * len(items)), np.float64)[:, :steps]
        assert isinstance(self.model, SequenceModel)
        return token_log_probs(self.model, self.model.encode(batch), self.ids[:steps]).cpu().double().numpy()
