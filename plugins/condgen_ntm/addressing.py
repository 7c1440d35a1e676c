"""Where heads look in the memory (Graves et al. 2014, section 3.3): by content, and from there by place.

Weightings are (batch, heads, slots), non-negative, and sum to 1 over the slots.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condgen_cli.nn import match_function

__all__ = ["TINY", "AddressingParameters", "FullAddressing", "SimpleAddressing", "interpolate", "sharpen", "shift"]

TINY = 1e-16
"""A weight of 0 has no logarithm."""


def interpolate(content: Tensor, previous: Tensor, gate: Tensor) -> Tensor:
    """g · content + (1 - g) · previous (eq. 7), with a gate (batch, heads, 1) within 0 and 1."""
    return torch.lerp(previous, content, gate)


def shift(weights: Tensor, kernel: Tensor) -> Tensor:
    """Circular convolution (eq. 8) as one product over windows of neighbours.

    Args:
        weights: (batch, heads, slots).
        kernel: (batch, heads, 2k + 1), the shares moved by k slots forward, k - 1, and so on to k slots back.
    """
    reach = kernel.shape[-1] // 2
    ring = torch.cat([weights[..., -reach:], weights, weights[..., :reach]], -1) if reach else weights
    return (ring.unfold(-1, kernel.shape[-1], 1) @ kernel.unsqueeze(-1)).squeeze(-1)


def sharpen(weights: Tensor, exponent: Tensor) -> Tensor:
    """w^γ / Σ w^γ (eq. 9), with an exponent (batch, heads, 1) of at least 1, as a softmax of γ · log w."""
    return (exponent * (weights + TINY).log()).softmax(-1)


class AddressingParameters(NamedTuple):
    """What the controller emits for addressing, as it comes out of its layer.

    Args:
        keys: (batch, heads · slot_size).
        gate: (batch, heads); with simple addressing it and the next two are empty.
        positive: (batch, 2 · heads), for β and then for γ.
        moves: (batch, heads · kernel), for the shift.
    """

    keys: Tensor
    gate: Tensor
    positive: Tensor
    moves: Tensor


class SimpleAddressing(nn.Module):
    """By content alone: the softmax of the core's cosine match, with its learned sharpness.

    Args:
        heads: read and write heads.
        slot_size: of a slot, and so of a key.
    """

    def __init__(self, heads: int, slot_size: int) -> None:
        super().__init__()
        self.heads = heads
        self.slot_size = slot_size
        self.match = match_function("cosine", slot_size, slot_size, slot_size)

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """How many numbers of each part of ``Emitted``."""
        return self.heads * self.slot_size, 0, 0, 0

    def forward(self, emitted: AddressingParameters, memory: Tensor, previous: Tensor) -> Tensor:
        """Weightings of all heads.

        Args:
            emitted: what the controller wants.
            memory: (batch, slots, slot_size).
            previous: (batch, heads, slots), the weightings of the step before.
        """
        return self.scores(emitted.keys, memory).softmax(-1)

    def scores(self, keys: Tensor, memory: Tensor) -> Tensor:
        """Cosines of keys and slots, times the match function's sharpness."""
        found: Tensor = self.match(keys.tanh().view(-1, self.heads, self.slot_size), self.match.keys(memory))
        return found


class FullAddressing(SimpleAddressing):
    """By content with a strength β (eq. 5), interpolation with the weighting before (g), shift (s) and sharpening (γ).

    Args:
        shifts: slots that a weighting can move by in one step, in either direction.
    """

    def __init__(self, heads: int, slot_size: int, shifts: int) -> None:
        super().__init__(heads, slot_size)
        self.shifts = shifts
        # the controller's β takes the place of the match function's own sharpness
        for sharpness in self.match.parameters():
            sharpness.requires_grad_(False).zero_()

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        return self.heads * self.slot_size, self.heads, 2 * self.heads, self.heads * (2 * self.shifts + 1)

    def forward(self, emitted: AddressingParameters, memory: Tensor, previous: Tensor) -> Tensor:
        strength, exponent = F.softplus(emitted.positive).view(-1, 2, self.heads, 1).unbind(1)
        content = (strength * self.scores(emitted.keys, memory)).softmax(-1)
        weights = interpolate(content, previous, emitted.gate.sigmoid().unsqueeze(-1))
        weights = shift(weights, emitted.moves.view(len(memory), self.heads, -1).softmax(-1))
        return sharpen(weights, exponent + 1)
