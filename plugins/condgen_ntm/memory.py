"""Reading and writing (Graves et al. 2014, sections 3.1 and 3.2). A memory is (batch, slots, slot_size)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["KEPT", "read", "write"]

KEPT = 1e-6
"""Where several heads write, the least share that one leaves: the gradient of a product divides by it."""


def read(memory: Tensor, weights: Tensor) -> Tensor:
    """Σ w(i) M(i) (eq. 2) for every head: weights (batch, heads, slots) to (batch, heads · slot_size)."""
    return torch.bmm(weights, memory).flatten(1)


def write(memory: Tensor, weights: Tensor, erase: Tensor, add: Tensor) -> Tensor:
    """M ⊙ Π (1 - w eᵀ) + Σ w aᵀ (eqs. 3 and 4): all heads erase, then all add, so that their order doesn't matter.

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
