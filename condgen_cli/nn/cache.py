"""The continuous cache: tokens that followed similar states earlier become more likely (Grave et al. 2017)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from condgen_cli.model import Memory
from condgen_cli.nn.loss import Mixture

__all__ = ["CACHE", "Cache", "Cached"]


class _Names(NamedTuple):
    keys: str = "cache_keys"
    tokens: str = "cache_tokens"
    mask: str = "cache_mask"


CACHE = _Names()
"""Names in ``Memory.auxiliary``: output vectors at earlier positions (batch, positions, size), the tokens written there
(batch, positions), and the mask (batch, positions), False at padding."""
SHARPNESS, SHARE = 0.15, 0.07
"""Initial values of θ and λ."""
TINY = 1e-30


class Cached(NamedTuple):
    """The cache's distribution over the next token in each of n steps.

    Args:
        tokens: (n, positions) ids of earlier tokens.
        shares: (n, positions) probability that each of them is written again; the rest of 1 is the vocabulary's share.
    """

    tokens: Tensor
    shares: Tensor

    @property
    def log_vocabulary_share(self) -> Tensor:
        """Logarithm (n,) of the vocabulary's share."""
        return torch.log1p(-self.shares.sum(1).clamp(max=1 - 1e-6))

    def mix(self, logits: Tensor) -> Tensor:
        """Log-probabilities (n, vocabulary_size) of the mixture, from the vocabulary's logits (n, vocabulary_size)."""
        cached = torch.zeros_like(logits).scatter_add(1, self.tokens, self.shares)
        return torch.logaddexp(self.log_vocabulary_share.unsqueeze(1) + logits.log_softmax(1), cached.clamp(min=TINY).log())

    def mixture(self, targets: Tensor) -> Mixture:
        """The mixture for the loss of targets (n,)."""
        cached = (self.shares * (self.tokens == targets.unsqueeze(1))).sum(1)
        return Mixture(self.log_vocabulary_share, cached.clamp(min=TINY).log())


class Cache(nn.Module):
    """p(w) = (1 - λ) · softmax + λ · Σ_i [w_i = w] exp(θ · o·o_i) / Σ_i exp(θ · o·o_i) (Grave et al. 2017, eq. 3-4).

    o is the current output vector, o_i that of an earlier step that wrote w_i. θ is learned, and λ = σ(v·o + b).

    Args:
        size: size of the output vector o.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(math.log(SHARPNESS)))
        self.gate = nn.Linear(size, 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, math.log(SHARE / (1 - SHARE)))

    def forward(self, features: Tensor, kept: Tensor, count: int, memory: Memory) -> Cached:
        """The cache's distributions for output vectors.

        Args:
            features: output vectors (n, size).
            kept: (n,) index of each among all ``count`` steps.
            count: number of steps with padding, the same for each row of the memory.
            memory: memory with the tensors that ``CACHE`` names.
        """
        keys, tokens, mask = (memory.auxiliary[name] for name in CACHE)
        padded = features.new_zeros(count, features.shape[1]).index_copy(0, kept, features)
        scores = self.sharpness.exp() * (padded.view(keys.shape[0], -1, features.shape[1]) @ keys.transpose(1, 2))
        empty = ~mask.unsqueeze(1)
        weights = scores.masked_fill(empty, torch.finfo(scores.dtype).min).softmax(2).masked_fill(empty, 0.0)
        shares = self.gate(features).sigmoid() * weights.flatten(0, 1).index_select(0, kept)
        return Cached(tokens.index_select(0, kept // (count // keys.shape[0])), shares)
