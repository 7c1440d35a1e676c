"""A match function: how well a query z fits a position's vector h."""

from __future__ import annotations

from torch import Tensor, nn

from condgen_cli.nn import MatchFunction


class DistanceMatch(MatchFunction):
    """-|Wh - z|²."""

    def __init__(self, query_size: int, value_size: int, hidden_size: int) -> None:
        super().__init__(query_size, value_size, hidden_size)
        self.project = nn.Linear(value_size, query_size, bias=False)

    def keys(self, values: Tensor) -> Tensor:
        """(batch, positions, value_size) to (batch, positions, query_size), once for each input."""
        return self.project(values)

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        """(batch, queries, query_size) and keys to scores (batch, queries, positions)."""
        return -(query.unsqueeze(2) - keys.unsqueeze(1)).square().sum(-1)
