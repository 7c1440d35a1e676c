"""Attention: match the query with every position, normalise the scores by softmax, sum the values with these weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from condgen_cli.nn.match import MatchFunction, match_function

__all__ = ["Attention", "LocationAttention", "make_attention"]


class Attention(nn.Module):
    """Soft attention over a memory (Bahdanau et al. 2015, eq. 5-6).

    Args:
        match: match function.
        query_size: size of the query, the decoder state z.
        query_hidden: size of a hidden layer between z and the match function, which must have been built for queries of this
            size; 0: no such layer.
    """

    def __init__(self, match: MatchFunction, query_size: int, query_hidden: int = 0) -> None:
        super().__init__()
        self.match = match
        self.query = nn.Sequential(nn.Linear(query_size, query_hidden), nn.Tanh()) if query_hidden else nn.Identity()

    location_aware = False
    """Whether it reads the attention weights of the previous step."""

    def keys(self, values: Tensor) -> Tensor:
        """Keys (batch, positions, key_size) of values (batch, positions, value_size), computed once per input."""
        return self.match.keys(values)

    def forward(
        self, query: Tensor, values: Tensor, keys: Tensor, mask: Tensor | None = None, previous: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Attend to the memory.

        Args:
            query: queries (rows, query_size); the number of rows is a multiple of batch, and rows are grouped by input.
            values: values (batch, positions, value_size).
            keys: keys (batch, positions, key_size).
            mask: (batch, positions), False at padding; an input that is all padding gives a context of zeros. None: no padding.
            previous: attention weights (rows, positions) of the previous step; only if ``location_aware``.
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
        """Scores (batch, rows per input, positions)."""
        scores: Tensor = self.match(query, keys)
        return scores


class LocationAttention(Attention):
    """Location-aware attention: convolutional features of the previous weights are added to the keys. With the additive match
    function this is Chorowski et al. 2015, eq. 8-9. It tells apart repeated sounds by their position.

    Args:
        match, query_size, query_hidden: see ``Attention``.
        key_size: size of the match function's keys.
        filters: number of convolutional filters.
        reach: number of positions to either side that a filter covers.
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
    """Build attention with a match function by name.

    Args:
        match: name of the match function.
        query_size, query_hidden: see ``Attention``.
        value_size: size of the memory's values.
        match_size: size of the match function's hidden layer.
        location_aware: whether to build ``LocationAttention``.

    Raises:
        NotFoundError, PluginError, UsageError: as ``match_function``.
    """
    function = match_function(match, query_hidden or query_size, value_size, match_size)
    if not location_aware:
        return Attention(function, query_size, query_hidden)
    key_size = function.keys(torch.zeros(1, 1, value_size)).shape[-1]
    return LocationAttention(function, query_size, query_hidden, key_size)
