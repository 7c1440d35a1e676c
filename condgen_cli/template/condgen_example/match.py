"""A match function: the score of a query z and the vector h of a position."""

from __future__ import annotations

from torch import Tensor, nn

from condgen_cli.nn import MatchFunction


class DistanceMatch(MatchFunction):
    """The negative squared distance, -|Wh - z|²."""

    def __init__(self, query_size: int, value_size: int, hidden_size: int) -> None:
        super().__init__(query_size, value_size, hidden_size)
        self.project = nn.Linear(value_size, query_size, bias=False)

    def keys(self, values: Tensor) -> Tensor:
        """Keys (batch, positions, query_size) of values (batch, positions, value_size), computed once for each input."""
        return self.project(values)

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        """Scores (batch, queries, positions) of queries (batch, queries, query_size) and keys."""
        return -(query.unsqueeze(2) - keys.unsqueeze(1)).square().sum(-1)
