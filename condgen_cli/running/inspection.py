"""Looking inside models, by their contract alone, and weight files: parts, shapes, costs, and attention in numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from condgen_cli.errors import CondgenError, NotFoundError, reason_of
from condgen_cli.files.safetensors_header import read_header
from condgen_cli.files.sources import Failure
from condgen_cli.generation import AttentionMap, Generation
from condgen_cli.inputs.expansion import Inputs, expand
from condgen_cli.inputs.lines import text_inputs
from condgen_cli.model import Item, Model, Predictor, SequenceModel
from condgen_cli.registry.plugins import manager
from condgen_cli.running.runner import Result, Runner, read_inputs

__all__ = ["Cost", "Part", "Trace", "model_report", "parts", "read_arguments", "result_report", "trace", "weights_report"]

SMALL_VOCABULARY = 250
"""Up to so many tokens a report has them all."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """A module of a model.

    Args:
        name: dotted, as in the weights; empty for the whole model.
        type: its class.
        parameters: numbers in it and in the parts below; what parts share is counted once.
        output: shapes of what it gave for one item; empty if it was not called as a module.
    """

    name: str
    type: str
    parameters: int
    output: tuple[Shape, ...] = ()

    @property
    def depth(self) -> int:
        return self.name.count(".") + 1 if self.name else 0


@dataclass(frozen=True)
class Cost:
    """Floating-point operations of convolutions and matrix products, a multiplication and an addition counted as two.

    Args:
        encode: for one input.
        step: for one decoding step of one hypothesis; None for a model that predicts without steps.
    """

    encode: int
    step: int | None = None


@dataclass(frozen=True)
class Trace:
    """What one item does in a model.

    Args:
        outputs: shapes by the names of the modules that were called, at their first call.
        memory: shapes by name.
        step: shapes of a step's logits, attention and extras, by name.
        positions: size of each axis that the memory's positions lie on, by the axis's name.
        cost: of the item.
    """

    outputs: Mapping[str, tuple[Shape, ...]]
    memory: Mapping[str, Shape]
    step: Mapping[str, Shape]
    positions: Mapping[str, int]
    cost: Cost


def trace(model: SequenceModel | Predictor) -> Trace | None:
    """Run the model's own example through it, on the CPU; None if it has none (``Model.example``)."""
    example = model.example()
    if example is None:
        return None
    outputs: dict[str, tuple[Shape, ...]] = {}
    hooks = [module.register_forward_hook(_recorder(outputs, name)) for name, module in model.named_modules()]
    try:
        # oneDNN's fused LSTM is opaque to the counter; allow_tf32=None leaves a setting alone that warns when it is touched
        with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False, allow_tf32=None):
            return _run(model, model.collate([example]), outputs)
    finally:
        for hook in hooks:
            hook.remove()


def _recorder(outputs: dict[str, tuple[Shape, ...]], name: str) -> Callable[[nn.Module, Any, Any], None]:
    def record(module: nn.Module, inputs: Any, output: Any) -> None:
        outputs.setdefault(name, tuple(_shapes(output)))

    return record


def _run(model: SequenceModel | Predictor, batch: Any, outputs: Mapping[str, tuple[Shape, ...]]) -> Trace:
    if isinstance(model, Predictor):
        _, flops = _counted(lambda: model.predict(batch))
        return Trace(outputs, {}, {}, {}, Cost(flops))
    memory, encode_flops = _counted(lambda: model.encode(batch))
    token = torch.tensor([model.vocabulary.bos])
    state = model.start(memory)
    step, step_flops = _counted(lambda: model.step(token, state, memory))
    return Trace(
        outputs,
        memory=_named_shapes({"values": memory.values, "keys": memory.keys, "vector": memory.vector, **memory.auxiliary}),
        step=_named_shapes({"logits": step.logits, **step.attention, **step.extras}),
        positions={axis.name: len(axis) for axis in memory.axes[0]} if memory.axes else {},
        cost=Cost(encode_flops, step_flops),
    )


def _counted(action: Callable[[], Any]) -> tuple[Any, int]:
    with FlopCounterMode(display=False) as counter:
        result = action()
    return result, counter.get_total_flops()


def _named_shapes(tensors: Mapping[str, Tensor | None]) -> dict[str, Shape]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items() if tensor is not None}


def _shapes(value: Any) -> Iterator[Shape]:
    """Shapes of the tensors in a module's output, however it is nested."""
    if isinstance(value, Tensor):
        yield tuple(value.shape)
    elif isinstance(value, Mapping):
        yield from _shapes(list(value.values()))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _shapes(part)
    elif is_dataclass(value):
        yield from _shapes([getattr(value, part.name) for part in fields(value)])


def parts(model: nn.Module, outputs: Mapping[str, tuple[Shape, ...]]) -> list[Part]:
    """The model and its modules, each before those in it."""
    return [
        Part(name, type(module).__name__, sum(parameter.numel() for parameter in module.parameters()), outputs.get(name, ()))
        for name, module in model.named_modules()
    ]


def model_report(runner: Runner) -> dict[str, Any]:
    """Everything that can be said of a model without an input, fit for JSON."""
    traced = trace(runner.model)
    found = parts(runner.model, traced.outputs if traced else {})
    bundle = runner.bundle
    return {
        "model": bundle.name,
        "task": bundle.task,
        "architecture": {"name": bundle.architecture, "config": dict(bundle.config)},
        "parameters": found[0].parameters,
        "parts": [asdict(part) for part in found],
        "memory": dict(traced.memory) if traced else None,
        "positions": dict(traced.positions) if traced else None,
        "step": dict(traced.step) if traced else None,
        "flops": asdict(traced.cost) if traced else None,
        "vocabulary": _vocabulary(runner.model),
        "decoding": asdict(runner.decoding),
        "card": runner.entry.model_dump(mode="json") if runner.entry else None,
    }


def _vocabulary(model: Model) -> dict[str, Any] | None:
    vocabulary = model.vocabulary
    if vocabulary is None:
        return None
    size = len(vocabulary)
    first, last = (range(min(size, 16)), range(max(size - 8, 16), size)) if size > SMALL_VOCABULARY else (range(size), ())
    return {
        "size": size,
        "first": [vocabulary.token(index) for index in first],
        "last": [vocabulary.token(index) for index in last],
    }


def weights_report(path: Path) -> dict[str, Any]:
    """What the header of a safetensors file says; no model is built and no tensor is read.

    Raises:
        NotFoundError: if there is no such file.
        IntegrityError: if the header is malformed.
    """
    try:
        header = read_header(path)
        size = path.stat().st_size
    except FileNotFoundError:
        raise NotFoundError(f"{path} does not exist") from None
    except OSError as error:
        raise CondgenError(f"can't read {path}: {reason_of(error)}") from None
    tensors = [
        {"name": tensor.name, "dtype": tensor.dtype, "shape": tensor.shape, "bytes": tensor.stop - tensor.start}
        for tensor in header.tensors
    ]
    return {
        "file": str(path),
        "bytes": size,
        "metadata": header.metadata,
        "parameters": sum(prod(tensor.shape) for tensor in header.tensors),
        "tensors": tensors,
    }


def read_arguments(task: str, arguments: Sequence[str]) -> Iterator[Item | Failure]:
    """The items of a command line's arguments, which are taken as the task's own command takes them."""
    spec = manager().tasks.get(task)
    if spec and spec.reads_files:
        return _read_files(task, expand(arguments, spec.suffixes, spec.kinds))
    return read_inputs(task, text_inputs(arguments, None))


def _read_files(task: str, files: Inputs) -> Iterator[Item | Failure]:
    yield from read_inputs(task, files)
    files.warn_of_left_out()


def result_report(result: Result) -> dict[str, Any]:
    """What a model wrote for an input and what it looked at, step by step, fit for JSON."""
    if result.error:
        return {"input": result.input, "output": None, "error": result.error.as_json()}
    best = result.generations[0]
    return {
        "input": result.input,
        "output": best.output,
        "score": best.score,
        "steps": [_step(best, index) for index in range(len(best.tokens))],
        "attention": {name: map.as_json() for name, map in best.attention.items()} or None,
        "error": None,
    }


def _step(generation: Generation, index: int) -> dict[str, Any]:
    log_probs = generation.log_probs
    extras = {name: float(values[index]) for name, values in generation.extras.items() if index < len(values)}
    # a map of another number of steps, such as hops, is told of as a whole
    maps = {name: map for name, map in generation.attention.items() if len(map.steps) == len(generation.tokens)}
    looked = {name: _heads(map, index) for name, map in maps.items()}
    log_prob = float(log_probs[index]) if index < len(log_probs) else None
    return {"token": generation.tokens[index], "log_prob": log_prob, "extras": extras, "attention": looked}


def _heads(map: AttentionMap, step: int) -> list[dict[str, Any]]:
    """For each head: entropy in bits, and the strongest positions by their labels."""
    entropy = map.entropy()
    return [
        {
            "entropy": float(entropy[step, head]),
            "strongest": [
                {"position": _labels(map, indices), "weight": weight} for indices, weight in map.strongest(step, head=head)
            ],
        }
        for head in range(map.heads)
    ]


def _labels(map: AttentionMap, indices: Sequence[int]) -> dict[str, str | float]:
    return {axis.name: axis.labels[index] for axis, index in zip(map.positions, indices, strict=True)}
