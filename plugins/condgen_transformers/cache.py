"""Keys and values of a decoder's attention, between transformers' cache and tensors of a state or a memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache
from transformers.cache_utils import DynamicLayer

__all__ = ["CROSS", "OWN", "State", "cross_tensors", "fill", "fill_both", "state_of", "stored"]

OWN, CROSS = "own", "cross"


class State(NamedTuple):
    """A decoder's own keys and values, of all layers, each (rows, heads, steps, size)."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def steps(self) -> int:
        """Number of tokens read."""
        return self.keys[0].shape[2]

    def first(self, steps: int) -> State:
        """The state after the first ``steps`` tokens."""
        return State(tuple(one[:, :, :steps] for one in self.keys), tuple(one[:, :, :steps] for one in self.values))


def fill(state: State) -> DynamicCache:
    """A cache that continues from a state."""
    cache = DynamicCache()
    cache.layers = [_layer(keys, values) for keys, values in zip(*state, strict=True)]
    return cache


def fill_both(state: State, cross: State) -> EncoderDecoderCache:
    """A cache that continues from a state, with the keys and values of cross-attention."""
    return EncoderDecoderCache(fill(state), fill(cross))


def state_of(cache: Any) -> State:
    """The keys and values in a cache."""
    return State(tuple(layer.keys for layer in cache.layers), tuple(layer.values for layer in cache.layers))


def cross_tensors(own: State, cross: State | None) -> dict[str, Tensor]:
    """Tensors by name for ``Memory.auxiliary``."""
    found: dict[str, Tensor] = {}
    for name, state in ((OWN, own), (CROSS, cross)):
        if state is not None:
            found |= {f"{name}.keys.{layer}": one for layer, one in enumerate(state.keys)}
            found |= {f"{name}.values.{layer}": one for layer, one in enumerate(state.values)}
    return found


def stored(auxiliary: Mapping[str, Tensor], name: str) -> State:
    """The keys and values that ``cross_tensors`` put under a name, ``own`` or ``cross``."""
    layers = sum(one.startswith(f"{name}.keys.") for one in auxiliary)

    def tensors(kind: str) -> Sequence[Tensor]:
        return [auxiliary[f"{name}.{kind}.{layer}"] for layer in range(layers)]

    return State(tuple(tensors("keys")), tuple(tensors("values")))


def _layer(keys: Tensor, values: Tensor) -> DynamicLayer:
    layer = DynamicLayer()
    layer.lazy_initialization(keys, values)
    layer.keys, layer.values = keys, values
    return layer
