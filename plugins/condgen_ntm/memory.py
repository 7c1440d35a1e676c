"""Reading and writing the memory (Graves et al. 2014, sections 3.1 and 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["KEPT", "read", "write"]

KEPT = 1e-6
"""With several write heads, the lower bound of the factor that one head's erasing leaves: the gradient divides by it."""


def read(memory: Tensor, weights: Tensor) -> Tensor:
    """Read vectors Σ w(i) M(i) (eq. 2) of all heads, (batch, heads · slot_size).

    Args:
        memory: (batch, slots, slot_size).
        weights: (batch, heads, slots).
    """
    return torch.bmm(weights, memory).flatten(1)


def write(memory: Tensor, weights: Tensor, erase: Tensor, add: Tensor) -> Tensor:
    """The memory M ⊙ Π (1 - w eᵀ) + Σ w aᵀ (eqs. 3 and 4): all heads erase, then all add, so their order doesn't matter.

    Args:
        memory: (batch, slots, slot_size).
        weights: (batch, heads, slots).
        erase: (batch, heads, slot_size) within 0 and 1.
        add: (batch, heads, slot_size).
    """
    places = weights.transpose(1, 2)
    if weights.shape[1] == 1:
        kept = torch.addcmul(memory, memory, torch.bmm(places, erase), value=-1)
    else:
        kept = memory * (1 - weights.unsqueeze(3) * erase.unsqueeze(2)).clamp(min=KEPT).prod(1)
    return torch.baddbmm(kept, places, add)
