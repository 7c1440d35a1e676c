"""Addressing of the memory by content and by location (Graves et al. 2014, section 3.3).

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
"""Added to weights before their logarithm is taken, since 0 has none."""


def interpolate(content: Tensor, previous: Tensor, gate: Tensor) -> Tensor:
    """g · content + (1 - g) · previous (eq. 7), with a gate (batch, heads, 1) within 0 and 1."""
    return torch.lerp(previous, content, gate)


def shift(weights: Tensor, kernel: Tensor) -> Tensor:
    """Circular convolution of weightings with shift kernels (eq. 8).

    Args:
        weights: (batch, heads, slots).
        kernel: (batch, heads, 2k + 1), weights of the shifts by k, k - 1, …, -k slots.
    """
    reach = kernel.shape[-1] // 2
    ring = torch.cat([weights[..., -reach:], weights, weights[..., :reach]], -1) if reach else weights
    return (ring.unfold(-1, kernel.shape[-1], 1) @ kernel.unsqueeze(-1)).squeeze(-1)


def sharpen(weights: Tensor, exponent: Tensor) -> Tensor:
    """w^γ / Σ w^γ (eq. 9), with an exponent (batch, heads, 1) of at least 1, as a softmax of γ · log w."""
    return (exponent * (weights + TINY).log()).softmax(-1)


class AddressingParameters(NamedTuple):
    """Addressing parameters as the controller's output layer gives them, before any nonlinearity.

    With simple addressing all but ``keys`` are empty.

    Args:
        keys: (batch, heads · slot_size) keys k.
        gate: (batch, heads) interpolation gates g.
        positive: (batch, 2 · heads) key strengths β, then sharpening exponents γ.
        moves: (batch, heads · kernel) shift weights s.
    """

    keys: Tensor
    gate: Tensor
    positive: Tensor
    moves: Tensor


class SimpleAddressing(nn.Module):
    """Content-based addressing alone: the softmax of the core's cosine match function, with its learned sharpness.

    Args:
        heads: number of read and write heads.
        slot_size: numbers in a slot, and so in a key.
    """

    def __init__(self, heads: int, slot_size: int) -> None:
        super().__init__()
        self.heads = heads
        self.slot_size = slot_size
        self.match = match_function("cosine", slot_size, slot_size, slot_size)

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Sizes of the fields of ``AddressingParameters``, per sequence."""
        return self.heads * self.slot_size, 0, 0, 0

    def forward(self, emitted: AddressingParameters, memory: Tensor, previous: Tensor) -> Tensor:
        """Weightings of all heads.

        Args:
            emitted: parameters from the controller.
            memory: (batch, slots, slot_size).
            previous: (batch, heads, slots), weightings of the previous step.
        Returns:
            (batch, heads, slots)
        """
        return self.scores(emitted.keys, memory).softmax(-1)

    def scores(self, keys: Tensor, memory: Tensor) -> Tensor:
        """Cosine similarity of keys and slots times the match function's sharpness, (batch, heads, slots)."""
        found: Tensor = self.match(keys.tanh().view(-1, self.heads, self.slot_size), self.match.keys(memory))
        return found


class FullAddressing(SimpleAddressing):
    """Content-based addressing with strength β (eq. 5), interpolation with the last weighting (g), shift (s), sharpening (γ).

    Args:
        shifts: largest shift in one step, in slots, in either direction.
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
