"""Match functions: scores of how well a query z matches an encoder vector h.

Each has two parts, so that what depends on the encoder alone is computed once per input:

* ``keys(values)``: (batch, positions, value_size) to (batch, positions, key_size);
* ``forward(query, keys)``: (batch, queries, query_size) and keys to scores (batch, queries, positions).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condgen_cli.errors import UsageError
from condgen_cli.settings import current
from condgen_cli.specs import look_up, resolve

__all__ = [
    "AdditiveMatch",
    "BilinearMatch",
    "CosineMatch",
    "DotMatch",
    "MatchFunction",
    "ScaledDotMatch",
    "match_function",
]


class MatchFunction(nn.Module):
    """Base class of match functions; its keys are the values themselves.

    Args:
        query_size: size of queries z.
        value_size: size of encoder vectors h.
        hidden_size: size of the match function's hidden layer, if it has one.
    """

    linear = False
    """Whether scores are linear in the values: the score of a sum of vectors is the sum of their scores."""

    def __init__(self, query_size: int, value_size: int, hidden_size: int) -> None:
        super().__init__()

    def keys(self, values: Tensor) -> Tensor:
        return values

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} defines no forward(query, keys)")


class DotMatch(MatchFunction):
    """zᵀh (Luong et al. 2015, eq. 8, "dot")."""

    linear = True

    def __init__(self, query_size: int, value_size: int, hidden_size: int) -> None:
        super().__init__(query_size, value_size, hidden_size)
        if query_size != value_size:
            raise UsageError(
                f"a dot product needs vectors of one size, not {query_size} and {value_size}", "use the match function bilinear"
            )

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        return query @ keys.transpose(1, 2)


class ScaledDotMatch(DotMatch):
    """zᵀh / √d (Vaswani et al. 2017, eq. 1)."""

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        return super().forward(query / math.sqrt(query.shape[-1]), keys)


class CosineMatch(DotMatch):
    """s · cos(z, h) with a learned sharpness s > 0: the softmax of unscaled cosines, in [-1, 1], is almost uniform."""

    linear = False

    def __init__(self, query_size: int, value_size: int, hidden_size: int) -> None:
        super().__init__(query_size, value_size, hidden_size)
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(10.0)))

    def keys(self, values: Tensor) -> Tensor:
        return F.normalize(values, dim=-1)

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        return super().forward(F.normalize(query, dim=-1) * self.log_sharpness.exp(), keys)


class BilinearMatch(MatchFunction):
    """hᵀWz (Luong et al. 2015, eq. 8, "general")."""

    linear = True

    def __init__(self, query_size: int, value_size: int, hidden_size: int) -> None:
        super().__init__(query_size, value_size, hidden_size)
        self.project = nn.Linear(value_size, query_size, bias=False)

    def keys(self, values: Tensor) -> Tensor:
        return self.project(values)

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        return query @ keys.transpose(1, 2)


class AdditiveMatch(MatchFunction):
    """vᵀ tanh(Wz + Uh + b) (Bahdanau et al. 2015, appendix A.1.2)."""

    def __init__(self, query_size: int, value_size: int, hidden_size: int) -> None:
        super().__init__(query_size, value_size, hidden_size)
        self.project_query = nn.Linear(query_size, hidden_size, bias=False)
        self.project_value = nn.Linear(value_size, hidden_size)
        self.weigh = nn.Linear(hidden_size, 1, bias=False)

    def keys(self, values: Tensor) -> Tensor:
        return self.project_value(values)

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        hidden = self.project_query(query).unsqueeze(2) + keys.unsqueeze(1)
        return self.weigh(hidden.tanh_()).squeeze(-1)


def match_function(name: str, query_size: int, value_size: int, hidden_size: int) -> MatchFunction:
    """Build a match function by its registered name or, with ``--trust-code``, a user's class by ``module:Class``.

    Raises:
        NotFoundError: for an unknown name.
        PluginError: if it can't be imported.
        UsageError: if a user's class isn't trusted or is not a match function, or if the sizes don't fit the function.
    """
    if ":" in name:
        return _own(name)(query_size, value_size, hidden_size)
    from condgen_cli.registry.plugins import manager

    build = resolve(look_up(manager().match_functions, "match function", name).build)
    function: MatchFunction = build(query_size, value_size, hidden_size)
    return function


def _own(reference: str) -> type[MatchFunction]:
    """Import a class outside any plugin. Recipes, runs and manifests may come from strangers, so the class is only imported if
    the user trusts it."""
    if not current().trusts_code:
        raise UsageError(
            f"{reference!r} is code that no plugin registers as a match function, and it was not run",
            "let a plugin register it (condgen plugin new NAME), or if you trust that code: condgen --trust-code COMMAND …",
        )
    found = resolve(reference)
    if not (isinstance(found, type) and issubclass(found, MatchFunction)):
        raise UsageError(
            f"{reference!r} is not a match function",
            "derive the class from condgen_cli.nn.MatchFunction",
        )
    return found
