"""Match functions with separate parameters for each of several networks trained side by side."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from condgen_cli.nn.match import match_function

__all__ = ["RestartedMatch"]


class RestartedMatch(nn.Module):
    """A match function with separate parameters for each restart.

    Args:
        name: name of the match function.
        size: size of queries and values.
        hidden_size: size of its hidden layer.
        restarts: number of networks.
    """

    def __init__(self, name: str, size: int, hidden_size: int, restarts: int) -> None:
        super().__init__()
        functions = [_Scores(name, size, hidden_size) for _ in range(restarts)]
        # in a list, so that it isn't registered as a submodule: the parameters in use are the stacked ones
        self._function = [functions[0].requires_grad_(False)]
        self.linear = bool(functions[0].match.linear)
        stacked = {
            name: torch.stack([dict(function.named_parameters())[name].detach() for function in functions])
            for name, _ in functions[0].named_parameters()
        }
        self.names = list(stacked)
        for name, parameter in stacked.items():
            self.register_parameter(name.replace(".", "_"), nn.Parameter(parameter))

    def forward(self, query: Tensor, values: Tensor) -> Tensor:
        """Scores (restarts, batch, queries, positions) of queries (restarts, batch, queries, size) and values (restarts, batch,
        positions, size)."""
        (function,) = self._function
        if not self.names:
            scores: Tensor = function(query.flatten(0, 1), values.flatten(0, 1))
            return scores.view(*query.shape[:2], *scores.shape[1:])
        parameters = {name: self.get_parameter(name.replace(".", "_")) for name in self.names}
        each = vmap(lambda own, q, v: functional_call(function, own, (q, v)))
        found: Tensor = each(parameters, query, values)
        return found


class _Scores(nn.Module):
    """A match function with its keys, as one module whose parameters can be replaced by name."""

    def __init__(self, name: str, size: int, hidden_size: int) -> None:
        super().__init__()
        self.match = match_function(name, size, size, hidden_size)

    def forward(self, query: Tensor, values: Tensor) -> Tensor:
        scores: Tensor = self.match(query, self.match.keys(values))
        return scores
