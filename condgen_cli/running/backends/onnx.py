"""Models that ONNX Runtime computes: the graphs of a model's pieces, with the weights of its own files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from condgen_cli.arrays import Array, repeat_rows
from condgen_cli.contract import Contract, Memory, SequenceContract, Step
from condgen_cli.errors import IntegrityError
from condgen_cli.files.weights import read_arrays
from condgen_cli.generation import Axis
from condgen_cli.running.backends.building import call_builder, find_spec
from condgen_cli.running.backends.sessions import GraphSession, open_session
from condgen_cli.running.backends.structures import flatten, memory_arrays
from condgen_cli.running.bundle import Bundle

__all__ = ["GraphModel", "Graphs", "build_graph_model"]

Graphs = Mapping[str, GraphSession]
"""The graphs of a model by the name of what they compute, such as ``encode``."""
SUFFIX = ".onnx"
ONE_THREAD = ("start", "step")
"""Graphs whose products are too small to be divided among threads."""


class GraphModel(SequenceContract):
    """A sequence model that is computed by three graphs, as ``condgen_cli.export`` makes them of a model in torch.

    * ``encode``: from the arrays of a batch, ``batch.…``, to those of a memory, ``memory.…``;
    * ``start``: from those of a memory to those of a state, ``state.…``, a row for each row of the memory;
    * ``step``: from ``token``, ``state.…`` and ``memory.…`` to ``logits``, ``next.…``, ``attention.…`` and ``extras.…``.

    A plugin's class derives from it, and from the class that its model in torch shares with it: collation, and writing outputs.

    Args:
        graphs: the graphs by name.
    Attributes:
        rows_at_once: number of rows of a batch that are encoded at once, all its arrays being batch first; 0: all. A few are
            faster where an input's activations fill a processor's cache.
    Raises:
        IntegrityError: if one is missing.
    """

    rows_at_once = 0

    def __init__(self, graphs: Graphs) -> None:
        if missing := [name for name in ("encode", "start", "step") if name not in graphs]:
            raise IntegrityError(f"the model has no graph {missing[0]}{SUFFIX}")
        self.graphs = graphs
        self._states = graphs["start"].graph.outputs
        self._next = [name.replace("state", "next", 1) for name in self._states]

    def axes(self, batch: Any, memory: Memory) -> Sequence[tuple[Axis, ...]]:
        """The axes of each row of a batch's memory; none by default, and positions are then numbered."""
        return ()

    def encode(self, batch: Any) -> Memory:
        memory = _memory(self._encode_parts(flatten(batch, "batch")))
        return replace(memory, axes=self.axes(batch, memory))

    def _encode_parts(self, arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        graph, part = self.graphs["encode"], self.rows_at_once
        count = max(map(len, arrays.values()), default=0)
        if not part or count <= part:
            return graph(arrays)
        starts = range(0, count, part)
        found = [graph({name: array[start : start + part] for name, array in arrays.items()}) for start in starts]
        return {name: np.concatenate([one[name] for one in found]) for name in graph.graph.outputs}

    def start(self, memory: Memory, rows_per_item: int = 1) -> tuple[Array, ...]:
        state = tuple(self.graphs["start"](memory_arrays(memory)).values())
        return state if rows_per_item == 1 else tuple(repeat_rows(part, rows_per_item) for part in state)

    def step(self, token: Array, state: tuple[Array, ...], memory: Memory) -> Step:
        inputs = {"token": token, **dict(zip(self._states, state, strict=True)), **memory_arrays(memory)}
        found = self.graphs["step"](inputs)
        return Step(
            found["logits"],
            tuple(found[name] for name in self._next),
            _below(found, "attention."),
            _below(found, "extras."),
        )


def build_graph_model(bundle: Bundle) -> Contract:
    """The model of a bundle that has graphs.

    Raises:
        IntegrityError: if its weights or graphs are damaged, don't fit one another, or hold what isn't allowed.
        PluginError: if its plugin can't build it.
    """
    spec = find_spec(bundle)
    weights = read_arrays(bundle.files, bundle.name)
    graphs = {
        name.removesuffix(SUFFIX): open_session(path, weights, 1 if name.removesuffix(SUFFIX) in ONE_THREAD else None)
        for name, path in bundle.files.items()
        if name.endswith(SUFFIX)
    }
    model: Contract = call_builder(spec.graphs, bundle, graphs)
    return model


def _memory(found: Mapping[str, Array]) -> Memory:
    keys, mask, vector = (found.get(f"memory.{name}") for name in ("keys", "mask", "vector"))
    return Memory(found["memory.values"], keys, mask, auxiliary=_below(found, "memory.auxiliary."), vector=vector)


def _below(found: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in found.items() if name.startswith(prefix)}
