"""Checking an ONNX graph before a library reads it.

A graph is a protobuf message, a ``ModelProto`` of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. Only the fields,
operators and sizes that graphs of models need are allowed. Weights are not in the graph: an initializer says their name, kind
and shape, and that they are external data, at a fixed place that is no file; whoever runs the graph hands them over. It is read
here by hand, since importing the library ``onnx`` takes longer than translating a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from condgen_cli.errors import IntegrityError

__all__ = ["OPERATORS", "OPSET", "WEIGHTS", "Graph", "Weight", "parse_graph", "read_graph"]

OPSET = 17
"""Version of the standard operators that graphs use."""
WEIGHTS = "weights"
"""Where a graph says that its weights lie: not a path, but a word for "handed over"."""
LARGEST = 4 * 1024 * 1024
"""Largest graph in bytes; that of the largest model of the zoo has about a hundredth of it."""
MOST_NODES = 20_000
MOST_CONSTANTS = 1_000_000
"""Largest number of elements of a constant, and of the weights of all initializers in thousands."""
DEEPEST = 8
"""Deepest nesting of graphs within attributes."""
LONGEST_NAME = 300

_OPERATORS = """
Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast CastLike Ceil Clip Concat Constant ConstantOfShape Conv Cos CumSum
DequantizeLinear Div DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand Flatten Floor GRU Gather GatherElements GatherND
Gemm GlobalAveragePool Greater GreaterOrEqual HardSigmoid HardSwish Identity InstanceNormalization IsInf IsNaN LSTM
LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul MatMulInteger Max MaxPool Mean Min Mod Mul Neg NonZero Not
OneHot Or PRelu Pad Pow QuantizeLinear RNN Range Reciprocal ReduceL2 ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
ReduceSum ReduceSumSquare Relu Reshape Round Scan ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Size Slice Softmax
Softplus Split Sqrt Squeeze Sub Sum Tanh Tile TopK Transpose Trilu Unsqueeze Where Xor
"""
OPERATORS = frozenset(_OPERATORS.split())
"""The standard operators that a graph may use: those that compute an array from arrays. There is none that draws random
numbers, reads files, or could run for ever."""

KINDS = {1: "float32", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16"}
"""Kinds of number, by the protobuf's numbers."""


@dataclass(frozen=True)
class Weight:
    """A weight that a graph needs: the kind of number, and the shape."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """What a graph needs and returns, by name.

    Args:
        inputs, outputs: names in order.
        weights: weights to be handed over.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: Mapping[str, Weight]


def read_graph(path: Path) -> tuple[bytes, Graph]:
    """The content of a graph's file, checked.

    Raises:
        IntegrityError: if it is no ONNX graph, or holds something that isn't allowed.
        OSError: if it can't be read.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    return content, parse_graph(content, path.name)


def parse_graph(content: bytes, name: str) -> Graph:
    """What a graph needs and returns.

    Args:
        content: the file's bytes.
        name: its name, for errors.
    Raises:
        IntegrityError: if it is no ONNX graph, or holds something that isn't allowed.
    """
    try:
        if len(content) > LARGEST:
            raise _ForbiddenError(f"it has more than {LARGEST} bytes")
        return _model(content)
    except _ForbiddenError as error:
        raise IntegrityError(f"{name} is not a graph that condgen runs: {error}") from None


class _ForbiddenError(Exception):
    """The graph holds something that isn't allowed; the message is part of a sentence."""


Value = int | bytes


def _fields(message: bytes, allowed: Mapping[int, str], what: str) -> Iterator[tuple[str, Value]]:
    """The fields of a protobuf message, by the names of those that are allowed: integers, or bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if number not in allowed:
            raise _ForbiddenError(f"its {what} has a field {number}")
        value: Value
        if kind == 0:
            value, place = _varint(message, place)
        elif kind in (1, 2, 5):
            length, place = (8, place) if kind == 1 else (4, place) if kind == 5 else _varint(message, place)
            if length > len(message) - place:
                raise _ForbiddenError("it is cut off, or no ONNX")
            value, place = message[place : place + length], place + length
        else:
            raise _ForbiddenError("it is no ONNX")
        yield allowed[number], value


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise _ForbiddenError("it is cut off, or no ONNX")


def _text(value: Value) -> str:
    try:
        text = _bytes(value).decode()
    except UnicodeDecodeError:
        raise _ForbiddenError("a name is not UTF-8") from None
    if len(text) > LONGEST_NAME or not text.isprintable():
        raise _ForbiddenError(f"the name {text!r:.80} is too long or not printable")
    return text


def _bytes(value: Value) -> bytes:
    if isinstance(value, int):
        raise _ForbiddenError("it is no ONNX")
    return value


def _number(value: Value) -> int:
    if not isinstance(value, int):
        raise _ForbiddenError("it is no ONNX")
    return value


_MODEL = {1: "ir_version", 2: "producer", 3: "producer_version", 5: "version", 7: "graph", 8: "opset"}
_OPSET = {1: "domain", 2: "version"}
_GRAPH = {1: "node", 2: "name", 5: "initializer", 11: "input", 12: "output"}
_NODE = {1: "input", 2: "output", 3: "name", 4: "operator", 5: "attribute", 7: "domain"}
_ATTRIBUTE = {1: "name", 2: "f", 3: "i", 4: "s", 5: "tensor", 6: "graph", 7: "floats", 8: "ints", 9: "strings", 20: "type"}
_TENSOR = {1: "dims", 2: "kind", 4: "floats", 5: "ints", 7: "longs", 8: "name", 9: "raw", 13: "external", 14: "location"}
_ENTRY = {1: "key", 2: "value"}
_VALUE = {1: "name", 2: "type"}


def _model(content: bytes) -> Graph:
    graphs, opsets = [], []
    for name, value in _fields(content, _MODEL, "model"):
        if name == "graph":
            graphs.append(_bytes(value))
        elif name == "opset":
            opsets.append(dict(_fields(_bytes(value), _OPSET, "operator set")))
    if len(graphs) != 1:
        raise _ForbiddenError("it holds no graph" if not graphs else "it holds several graphs")
    for opset in opsets:
        if opset.get("domain", b"") != b"" or opset.get("version") != OPSET:
            raise _ForbiddenError(f"its operators are not the standard ones of version {OPSET}")
    if not opsets:
        raise _ForbiddenError("it doesn't say which operators it uses")
    reader = _Reader()
    found = reader.graph(graphs[0], 0)
    return Graph(*found, reader.weights)


class _Reader:
    """Reads a graph and those within it, and counts what they hold."""

    def __init__(self) -> None:
        self.weights: dict[str, Weight] = {}
        self.nodes = 0
        self.elements = 0

    def graph(self, message: bytes, depth: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of a graph's inputs and outputs."""
        if depth > DEEPEST:
            raise _ForbiddenError("its graphs are nested too deeply")
        inputs: list[str] = []
        outputs: list[str] = []
        for name, value in _fields(message, _GRAPH, "graph"):
            if name == "node":
                self._node(_bytes(value), depth)
            elif name == "initializer":
                self._tensor(_bytes(value), external=depth == 0)
            elif name in ("input", "output"):
                names = [_text(part) for field, part in _fields(_bytes(value), _VALUE, name) if field == "name"]
                (inputs if name == "input" else outputs).extend(names)
        return tuple(inputs), tuple(outputs)

    def _node(self, message: bytes, depth: int) -> None:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise _ForbiddenError(f"it has more than {MOST_NODES} nodes")
        operator = ""
        for name, value in _fields(message, _NODE, "node"):
            if name == "operator":
                operator = _text(value)
            elif name == "domain" and _bytes(value) not in (b"", b"ai.onnx"):
                raise _ForbiddenError(f"it uses operators of {_text(value)}")
            elif name == "attribute":
                for field, part in _fields(_bytes(value), _ATTRIBUTE, "attribute"):
                    if field == "tensor":
                        self._tensor(_bytes(part), external=False)
                    elif field == "graph":
                        self.graph(_bytes(part), depth + 1)
        if operator not in OPERATORS:
            raise _ForbiddenError(f"it uses the operator {operator!r}")

    def _tensor(self, message: bytes, external: bool) -> None:
        """Check a tensor: a constant of moderate size, or with ``external`` a weight that is handed over."""
        shape: list[int] = []
        entries: list[dict[str, Value]] = []
        kind = location = 0
        label = ""
        for name, value in _fields(message, _TENSOR, "tensor"):
            if name == "dims":
                shape += _numbers(value)
            elif name == "kind":
                kind = _number(value)
            elif name == "name":
                label = _text(value)
            elif name == "location":
                location = _number(value)
            elif name == "external":
                entries.append(dict(_fields(_bytes(value), _ENTRY, "external data")))
        elements = math.prod(shape)
        if kind not in KINDS:
            raise _ForbiddenError(f"the tensor {label!r} is of a kind of number that no model needs")
        if location == 0 and not entries:
            self.elements += elements
            if self.elements > MOST_CONSTANTS:
                raise _ForbiddenError("its constants are too large")
            return
        self.elements += elements // 1000
        if not external or location != 1 or entries != [{"key": b"location", "value": WEIGHTS.encode()}]:
            raise _ForbiddenError(f"the tensor {label!r} refers to a file")
        if not label or label in self.weights or self.elements > MOST_CONSTANTS:
            raise _ForbiddenError(f"the weight {label!r} has no name, is there twice, or is too large")
        self.weights[label] = Weight(KINDS[kind], tuple(shape))


def _numbers(value: Value) -> list[int]:
    """A repeated integer: a single one, or several packed."""
    if isinstance(value, int):
        return [value]
    numbers, place = [], 0
    while place < len(value):
        number, place = _varint(value, place)
        numbers.append(number)
    return numbers
