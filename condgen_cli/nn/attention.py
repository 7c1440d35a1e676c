"""Attention: match the query with every position, softmax, weighted sum."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from condgen_cli.nn.match import MatchFunction, match_function

__all__ = ["Attention", "LocationAttention", "make_attention"]


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

    location_aware = False
    """Whether it reads the weights of the step before."""

    def keys(self, values: Tensor) -> Tensor:
        """The match function's keys (batch, positions, key_size), computed once for an input."""
        return self.match.keys(values)

    def forward(
        self, query: Tensor, values: Tensor, keys: Tensor, mask: Tensor | None = None, previous: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Read the memory.

        Args:
            query: (rows, query_size), rows a multiple of batch and grouped by it.
            values: (batch, positions, value_size).
            keys: (batch, positions, key_size).
            mask: (batch, positions), True where a position is real; a row without any real position reads zeros.
            previous: (rows, positions) the weights of the step before; read if ``location_aware``.
        Returns:
            context (rows, value_size) and weights (rows, positions).
        """
        rows, batch = query.shape[0], values.shape[0]
        scores = self._scores(self.query(query).view(batch, rows // batch, -1), keys, previous)
        if mask is None:
            weights = scores.softmax(-1)
        else:
            padded = ~mask.unsqueeze(1)
            weights = scores.masked_fill(padded, torch.finfo(scores.dtype).min).softmax(-1).masked_fill(padded, 0.0)
        context = weights @ values
        return context.flatten(0, 1), weights.flatten(0, 1)

    def _scores(self, query: Tensor, keys: Tensor, previous: Tensor | None) -> Tensor:
        """(batch, rows of each input, positions)."""
        scores: Tensor = self.match(query, keys)
        return scores


class LocationAttention(Attention):
    """Attention that knows where it looked last: filters over the weights of the step before are added to the keys, so that
    the additive match function gives Chorowski et al. 2015, eq. 8-9. It can go on from there and need not start again at a
    sound that comes twice.

    Args:
        match, query_size, query_hidden: as of ``Attention``.
        key_size: of the match function's keys.
        filters: their number.
        reach: positions to either side that a filter sees.
    """

    location_aware = True

    def __init__(
        self, match: MatchFunction, query_size: int, query_hidden: int, key_size: int, filters: int = 10, reach: int = 15
    ) -> None:
        super().__init__(match, query_size, query_hidden)
        self.filters = nn.Conv1d(1, filters, 2 * reach + 1, padding=reach, bias=False)
        self.locate = nn.Linear(filters, key_size, bias=False)

    def _scores(self, query: Tensor, keys: Tensor, previous: Tensor | None) -> Tensor:
        assert previous is not None
        batch, per_item, _ = query.shape
        located = self.locate(self.filters(previous.unsqueeze(1)).transpose(1, 2)).view(batch, per_item, *keys.shape[1:])
        scores: Tensor = self.match(query.flatten(0, 1).unsqueeze(1), (keys.unsqueeze(1) + located).flatten(0, 1))
        return scores.view(batch, per_item, -1)


def make_attention(
    match: str, query_size: int, value_size: int, match_size: int, query_hidden: int = 0, location_aware: bool = False
) -> Attention:
    """Attention with a match function by name; ``located``: one that knows where it looked last.

    Raises:
        NotFoundError, PluginError, UsageError: as ``match_function``.
    """
    function = match_function(match, query_hidden or query_size, value_size, match_size)
    if not location_aware:
        return Attention(function, query_size, query_hidden)
    key_size = function.keys(torch.zeros(1, 1, value_size)).shape[-1]
    return LocationAttention(function, query_size, query_hidden, key_size)
