"""The graphs of a model: ``encode``, ``start`` and ``step`` of a sequence model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from condgen_cli.contract import Memory, Step
from condgen_cli.errors import UsageError
from condgen_cli.export.tracing import trace
from condgen_cli.model import SequenceModel
from condgen_cli.running.backends.structures import flatten, memory_arrays, rebuild

__all__ = ["make_graphs"]

Arrays = Mapping[str, Tensor]


def make_graphs(model: SequenceModel, stored: Mapping[str, Any]) -> dict[str, bytes]:
    """The graphs of a model by name, as ``condgen_cli.running.backends.onnx.GraphModel`` runs them.

    The model is traced on its examples; an axis is as long as it is there if it has the same length for one example and for all
    of them, for one hypothesis and for several, after one step and after two. Otherwise its length is free.

    Args:
        model: the model, on the CPU.
        stored: see ``condgen_cli.export.tracing.trace``.
    Raises:
        UsageError: if the model has no examples.
        CondgenError: if it can't be traced.
    """
    examples = list(model.examples())
    if len(examples) < 2:
        raise UsageError(
            f"{type(model).__name__} has no examples to trace", "let its examples() return two that differ in size"
        )
    with torch.no_grad():
        several, one = _Run(model, model.collate(examples), 2), _Run(model, model.collate(examples[-1:]), 3)
        again = _Run(model, model.collate(examples), 2, steps=2)
    return {
        "encode": trace(model, several.encode, several.batch, _free(several.batch, one.batch), "encode", stored),
        "start": trace(model, several.start, several.memory, _free(several.memory, one.memory), "start", stored),
        "step": trace(model, several.step, several.inputs, _free(several.inputs, one.inputs, again.inputs), "step", stored),
    }


class _Run:
    """A model run on a batch: the arrays that each of its pieces takes, and the pieces as functions of them.

    Args:
        model: the model.
        batch: what it collates of some items.
        rows: rows of the decoder for each item.
        steps: number of steps after which the inputs of a step are taken.
    """

    def __init__(self, model: SequenceModel, batch: Any, rows: int, steps: int = 1) -> None:
        self.model = model
        self._batch = batch
        self._memory = model.encode(batch)
        self._state = model.start(self._memory, rows)
        token = torch.full((len(self._memory) * rows,), model.vocabulary.bos)
        for _ in range(steps):
            found = model.step(token, self._state, self._memory)
            self._state, token = found.state, found.logits.argmax(1)
        self.batch = flatten(batch, "batch")
        self.memory = memory_arrays(self._memory)
        self.inputs = {"token": token, **flatten(self._state, "state"), **self.memory}

    def encode(self, arrays: Arrays) -> Arrays:
        return memory_arrays(self.model.encode(rebuild(self._batch, arrays, "batch")))

    def start(self, arrays: Arrays) -> Arrays:
        return flatten(self.model.start(rebuild(self._memory, arrays, "memory")), "state")

    def step(self, arrays: Arrays) -> Arrays:
        memory: Memory = rebuild(self._memory, arrays, "memory")
        found: Step = self.model.step(arrays["token"], rebuild(self._state, arrays, "state"), memory)
        shown = {**flatten(found.attention, "attention"), **flatten(found.extras, "extras")}
        return {"logits": found.logits, **flatten(found.state, "next"), **shown}


def _free(several: Arrays, *others: Arrays) -> dict[str, list[int]]:
    """The axes of each array that are of another length in another run."""
    return {
        name: [axis for axis, size in enumerate(array.shape) if any(other[name].shape[axis] != size for other in others)]
        for name, array in several.items()
    }
