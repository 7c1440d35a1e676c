"""Making graphs of torch modules: traced on an example, then written with weights that are only named."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from condgen_cli.errors import CondgenError, UsageError
from condgen_cli.files.onnx_header import OPSET, WEIGHTS, parse_graph
from condgen_cli.files.weights import SCALE

__all__ = ["import_onnx", "trace"]

Arrays = Mapping[str, Tensor]


class _Traced(nn.Module):
    """A function of named tensors as a module that takes and returns them in order."""

    def __init__(self, model: nn.Module, function: Callable[[Arrays], Arrays], names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.function = function
        self.names = names

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.function(dict(zip(self.names, tensors, strict=True))).values())


def trace(
    model: nn.Module,
    function: Callable[[Arrays], Arrays],
    inputs: Arrays,
    dynamic: Mapping[str, Sequence[int]],
    name: str,
    stored: Mapping[str, Any],
) -> bytes:
    """A graph of what a function computes with a model.

    Args:
        model: the model, whose parameters and buffers are the graph's weights, by the names of its ``state_dict``.
        function: from tensors by name to tensors by name.
        inputs: an example of its inputs.
        dynamic: for each input, the axes whose length differs from call to call.
        name: name of the graph.
        stored: the kind of number in which each weight is stored, and those of scales of quantized matrices
            (``condgen_cli.files.weights``): the graph converts them, which is done once, as a session is opened.
    Raises:
        UsageError: if the package ``onnx`` is missing.
        CondgenError: if the function can't be written as a graph.
    """
    onnx = import_onnx()
    outputs = list(function(inputs))
    content = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
            warnings.simplefilter("ignore")  # about values that tracing takes for constants, which the comparison finds
            torch.onnx.export(
                _Traced(model, function, list(inputs)).eval(),
                tuple(tensor.clone() for tensor in inputs.values()),
                content,  # type: ignore[arg-type]  # a file or one in memory
                input_names=list(inputs),
                output_names=outputs,
                dynamic_axes={key: list(axes) for key, axes in dynamic.items()},
                opset_version=OPSET,
                # the exporter for torch.export fixes the length of recurrent layers
                dynamo=False,
                # folding would replace weights by others that no file holds
                do_constant_folding=False,
            )
    except Exception as error:
        raise CondgenError(f"the graph {name} can't be made: {str(error).partition(chr(10))[0][:300]}") from error
    found = onnx.load_from_string(content.getvalue())
    _clean(found, stored, list(inputs), outputs)
    written: bytes = found.SerializeToString(deterministic=True)
    parse_graph(written, f"{name}.onnx")
    return written


def import_onnx() -> Any:
    """The package ``onnx``, which only those who make graphs need.

    Raises:
        UsageError: if it is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise UsageError("graphs are made with the package onnx, which is not installed", "pip install onnx") from None
    return onnx


def _clean(found: Any, stored: Mapping[str, Any], inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Rewrite a graph in place: weights by name only, short names for all that lies between, no input that isn't used."""
    graph = found.graph
    names = {tensor.name: tensor.name.removeprefix("model.") for tensor in graph.initializer}
    kept = {*inputs, *outputs}
    for node in graph.node:
        for output in node.output:
            if output and output not in kept:
                names[output] = f"v{len(names)}"
    _rename(graph.node, names)
    for tensor in graph.initializer:
        tensor.name = names[tensor.name]
    _name_weights(graph, stored)
    used = {name for node in graph.node for name in node.input} | set(outputs)
    needed = [value for value in graph.input if value.name in used]
    del graph.input[:]
    graph.input.extend(needed)
    del graph.value_info[:]
    graph.name = "graph"
    for field in ("producer_name", "producer_version", "doc_string", "model_version", "domain"):
        found.ClearField(field)
    del found.metadata_props[:]


def _name_weights(graph: Any, stored: Mapping[str, Any]) -> None:
    """Replace the data of weights by their names and the kinds of numbers that they are stored in, and convert these."""
    from onnx import TensorProto, helper

    kinds = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "int8": TensorProto.INT8, "int64": TensorProto.INT64}
    kept, conversions, floats = [], [], {}
    for tensor in graph.initializer:
        name = tensor.name
        if name not in stored:
            kept.append(tensor)  # a constant that the model holds outside its state
            continue
        kept.append(_external(name, kinds[str(stored[name])], tensor.dims))
        if str(stored[name]) == "int8":
            scale = name + SCALE
            kept.append(_external(scale, kinds[str(stored[scale])], tensor.dims[:1]))
            conversions.append(helper.make_node("DequantizeLinear", [name, scale], [f"{name}.float"], axis=0))
        elif str(stored[name]) == "float16":
            conversions.append(helper.make_node("Cast", [name], [f"{name}.float"], to=TensorProto.FLOAT))
        else:
            continue
        floats[name] = f"{name}.float"
    _rename(graph.node, floats)
    del graph.initializer[:]
    graph.initializer.extend(kept)
    nodes = [*conversions, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _external(name: str, kind: int, shape: Sequence[int]) -> Any:
    """A weight that whoever runs the graph hands over."""
    from onnx import TensorProto

    tensor = TensorProto(name=name, data_type=kind, dims=shape, data_location=TensorProto.EXTERNAL)
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", WEIGHTS
    return tensor


def _rename(nodes: Any, names: Mapping[str, str]) -> None:
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for field in ("name", "doc_string"):
            node.ClearField(field)
        del node.metadata_props[:]
        for attribute in node.attribute:
            attribute.ClearField("doc_string")
            if attribute.HasField("g"):
                _rename(attribute.g.node, names)
