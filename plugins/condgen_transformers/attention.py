"""Cross-attention read from transformers' modules, for several hypotheses of an input at once.

Transformers returns no cross-attention with its fast attention functions, and expects a copy of keys and values for each
hypothesis of a beam. Here the hypotheses of an input are folded into the queries of one row of keys and values, which is the
same product, and the weights are collected as they are computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

__all__ = ["ATTENTION", "read", "reading"]

ATTENTION = "condgen"
"""Name of the attention function for ``from_pretrained``: torch's fast one, but for the modules that are read."""


@dataclass
class Reading:
    """What is collected while a decoder runs.

    Args:
        batch: number of rows of keys and values.
        rows, queries: numbers of the decoder's rows, and of queries in each.
        weights: for each module that was read, in order, (rows, heads, queries, positions).
    """

    batch: int
    rows: int = 0
    queries: int = 0
    weights: list[Tensor] = field(default_factory=list)


_reading: ContextVar[Reading | None] = ContextVar("condgen_transformers_reading", default=None)
_read: WeakSet[nn.Module] = WeakSet()


@contextmanager
def reading(batch: int) -> Iterator[list[Tensor]]:
    """Collect the weights of all modules that are read; ``batch`` is the number of rows of the memory."""
    token = _reading.set(found := Reading(batch))
    try:
        yield found.weights
    finally:
        _reading.reset(token)


def read(network: nn.Module, suffix: str, fold: bool = True) -> int:
    """Read the attention modules whose name ends with ``suffix``; returns their number.

    Args:
        fold: whether their keys and values have a row for each input, not for each hypothesis, as cross-attention here has.
    """
    modules = [module for name, module in network.named_modules() if name.endswith(suffix)]
    for module in modules:
        _read.add(module)
        if fold:
            module.register_forward_pre_hook(_fold, with_kwargs=True)
        module.register_forward_hook(_unfold if fold else _collect)
    return len(modules)


def _fold(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
    """Queries (rows, queries, size) become (batch, rows / batch · queries, size)."""
    found = _reading.get()
    if found is None:
        return None
    states = args[0] if args else kwargs["hidden_states"]
    found.rows, found.queries = states.shape[:2]
    folded = states.reshape(found.batch, -1, states.shape[-1])
    if "output_attentions" in kwargs:  # modules without attention functions return weights on demand
        kwargs = {**kwargs, "output_attentions": True}
    return ((folded, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": folded})


def _unfold(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    """Outputs (batch, rows / batch · queries, size) become (rows, queries, size); likewise weights, which are collected."""
    found = _reading.get()
    if found is None:
        return None
    context, *others = output
    weights = others[-1]
    heads, positions = weights.shape[1], weights.shape[3]
    split = weights.reshape(found.batch, heads, found.rows // found.batch, found.queries, positions)
    found.weights.append(split.transpose(1, 2).reshape(found.rows, heads, found.queries, positions))
    return (context.reshape(found.rows, found.queries, -1), *others)


def _collect(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
    if found := _reading.get():
        found.weights.append(output[-1])


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    position_bias: Tensor | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """transformers' attention function: outputs (rows, queries, heads, size), and weights of modules that are read."""
    if module not in _read or _reading.get() is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, position_bias=position_bias, **options
        )
    groups = query.shape[1] // key.shape[1]
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if position_bias is not None:
        scores = scores + position_bias
    if attention_mask is not None:
        # all queries of a row see the same positions
        seen = attention_mask[:, :, :1]
        scores = scores + seen if seen.is_floating_point() else scores.masked_fill(~seen, -torch.inf)
    weights = scores.softmax(-1)
    return (weights @ value).transpose(1, 2).contiguous(), weights


AttentionInterface.register(ATTENTION, _attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
