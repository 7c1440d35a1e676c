"""Attention: match the query with every position, softmax, weighted sum."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from condgen_cli.nn.match import MatchFunction

__all__ = ["Attention"]


class Attention(nn.Module):
    """Soft attention over a memory (Bahdanau et al. 2015, eq. 5-6).

    Args:
        match: the match function.
        query_size: size of the decoder state z.
        query_hidden: size of a further hidden layer that z passes before it is matched; 0 for none. If it is set, ``match``
            must have been built for queries of this size.
    """

    def __init__(self, match: MatchFunction, query_size: int, query_hidden: int = 0) -> None:
        super().__init__()
        self.match = match
        self.query = nn.Sequential(nn.Linear(query_size, query_hidden), nn.Tanh()) if query_hidden else nn.Identity()

    def keys(self, values: Tensor) -> Tensor:
        """The match function's keys (batch, positions, key_size), computed once for an input."""
        return self.match.keys(values)

    def forward(self, query: Tensor, values: Tensor, keys: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Read the memory.

        Args:
            query: (rows, query_size), rows a multiple of batch and grouped by it.
            values: (batch, positions, value_size).
            keys: (batch, positions, key_size).
            mask: (batch, positions), True where a position is real; a row without any real position reads zeros.
        Returns:
            context (rows, value_size) and weights (rows, positions).
        """
        rows, batch = query.shape[0], values.shape[0]
        scores = self.match(self.query(query).view(batch, rows // batch, -1), keys)
        if mask is None:
            weights = scores.softmax(-1)
        else:
            padded = ~mask.unsqueeze(1)
            weights = scores.masked_fill(padded, torch.finfo(scores.dtype).min).softmax(-1).masked_fill(padded, 0.0)
        context = weights @ values
        return context.flatten(0, 1), weights.flatten(0, 1)
