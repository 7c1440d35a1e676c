"""Copying: a token that has been read may be written again, by the attention that it gets."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from condgen_cli.nn.loss import Mixture

__all__ = ["SOURCE", "Copies", "Copying"]

SOURCE = "source"
"""Name in ``Memory.auxiliary`` of the tokens that the positions hold, (batch, positions)."""
SELDOM = -3.0
"""Bias of the gate at first: about one token in twenty is copied."""
TINY = 1e-30


class Copies(NamedTuple):
    """What may be copied in each of n steps.

    Args:
        tokens: (n, positions) that the positions hold.
        shares: (n, positions) probability that each is what is copied; what they leave of 1 is the vocabulary's.
    """

    tokens: Tensor
    shares: Tensor

    @property
    def kept(self) -> Tensor:
        """(n, 1) logarithm of the vocabulary's share."""
        return torch.log1p(-self.shares.sum(1, keepdim=True).clamp(max=1 - 1e-6))

    def mixed(self, logits: Tensor) -> Tensor:
        """Log-probabilities (n, vocabulary) from the vocabulary's logits."""
        copied = torch.zeros_like(logits).scatter_add(1, self.tokens, self.shares)
        return torch.logaddexp(self.kept + logits.log_softmax(1), copied.clamp(min=TINY).log())

    def mixture(self, targets: Tensor) -> Mixture:
        """The same for the loss of targets (n,)."""
        copied = (self.shares * (self.tokens == targets.unsqueeze(1))).sum(1)
        return Mixture(self.kept.squeeze(1), copied.clamp(min=TINY).log())


class Copying(nn.Module):
    """A gate σ(w·o + b) on the output layer's vector o says how much of the next token's probability goes to the tokens that
    are attended to, each by its attention weight (See et al. 2017, eq. 8-9).

    Args:
        size: of the output layer's vector.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gate = nn.Linear(size, 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, SELDOM)

    def forward(self, features: Tensor, weights: Tensor, tokens: Tensor) -> Copies:
        """Of features (n, size), attention weights (n, positions) and the tokens (n, positions) that they lie on."""
        return Copies(tokens, self.gate(features).sigmoid() * weights)
