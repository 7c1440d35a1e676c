"""Gradients of a token's log-probability with respect to the memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from condgen_cli.explain.removal import MemoryRemoval, mean_position, token_log_probs
from condgen_cli.model import Memory

__all__ = ["gradient_norm", "gradient_times_value", "integrate_gradients"]

POINTS = 8
"""Number of points on the way from the memory's mean to the memory."""


def gradient_times_value(removal: MemoryRemoval) -> NDArray[np.float64]:
    """Importances (T, positions): gradient × value (Denil et al. 2014, "Extraction of salient sentences from labelled
    documents"; Shrikumar et al. 2016, "Not just a black box").

    For the value v of a position, its key k and their means v̄ and k̄ over the memory: (∂ log P(yₜ) / ∂v) · (v − v̄) +
    (∂ log P(yₜ) / ∂k) · (k − k̄). Since it begins from the mean, it is the first-order estimate of what occlusion of the
    position alone takes away.
    """
    return _along_path(removal, [1.0])


def integrate_gradients(removal: MemoryRemoval) -> NDArray[np.float64]:
    """Importances (T, positions): integrated gradients (Sundararajan et al. 2017, eq. 1) from a memory that holds its mean
    everywhere, by the midpoint rule. They sum to the log-probability that the whole memory is worth."""
    return _along_path(removal, [(point + 0.5) / POINTS for point in range(POINTS)])


def gradient_norm(removal: MemoryRemoval) -> NDArray[np.float64]:
    """Importances (T, positions), not negative: the Euclidean norm of the gradient of log P(yₜ) with respect to value and key
    (Simonyan et al. 2014, "Deep inside convolutional networks", section 3, with the norm for the maximum)."""
    squares = [(each.double() ** 2).sum((1, 3)) for each in _gradients(removal, [1.0])]
    return _real(removal, sum(squares[1:], squares[0]).sqrt())


def _along_path(removal: MemoryRemoval, shares: Sequence[float]) -> NDArray[np.float64]:
    """The mean of gradients at points between the memory's mean (0) and the memory (1), times the difference of the two."""
    memory = removal.memory
    total = torch.zeros(len(removal.ids), memory.values.shape[1], dtype=torch.float64, device=memory.values.device)
    for found, vectors in zip(_gradients(removal, shares), _tensors(memory), strict=True):
        difference = (vectors - mean_position(memory, vectors)).double()
        total += (found.double().mean(1) * difference).sum(2)
    return _real(removal, total)


def _tensors(memory: Memory) -> list[Tensor]:
    return [memory.values] if memory.keys is None else [memory.values, memory.keys]


def _gradients(removal: MemoryRemoval, shares: Sequence[float]) -> list[Tensor]:
    """For values and keys, the gradients (T, points, positions, size) of each token's log-probability."""
    # tensors of inference mode can't be differentiated, but their copies outside it can; CUDA's fused recurrent layers have no
    # backward pass in evaluation mode
    with torch.inference_mode(False), torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        memory = _copies(removal.memory, len(shares))
        share = torch.tensor(shares, device=memory.values.device).view(-1, 1, 1)
        leaves = []
        for vectors in _tensors(removal.memory):
            vectors = vectors.clone().float()
            mean = mean_position(removal.memory, vectors)
            leaves.append((mean + share * (vectors - mean)).detach().requires_grad_())
        memory = replace(memory, values=leaves[0], keys=leaves[1] if len(leaves) > 1 else None)
        log_probs = token_log_probs(removal.model, removal.model.refresh(memory), removal.ids).sum(0)
        each = [torch.autograd.grad(one, leaves, retain_graph=True, allow_unused=True) for one in log_probs]
        return [
            torch.stack([torch.zeros_like(leaf) if found is None else found for found in column])
            for leaf, column in zip(leaves, zip(*each, strict=True), strict=True)
        ]


def _copies(memory: Memory, rows: int) -> Memory:
    """Copies of the memory of one input that can take part in differentiation."""
    several = memory.select(torch.zeros(rows, dtype=torch.long, device=memory.values.device))
    return replace(
        several,
        values=several.values.clone(),
        mask=None if several.mask is None else several.mask.clone(),
        auxiliary={name: tensor.clone() for name, tensor in several.auxiliary.items()},
        vector=None if several.vector is None else several.vector.clone(),
    )


def _real(removal: MemoryRemoval, importance: Tensor) -> NDArray[np.float64]:
    """The importances (T, positions) of real positions."""
    mask = removal.memory.mask
    found = importance if mask is None else importance[:, mask[0]]
    return found.detach().cpu().numpy()
