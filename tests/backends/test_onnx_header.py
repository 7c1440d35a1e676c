"""What a graph may hold: nothing but standard operators, and weights that are handed over."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from condgen_cli.errors import IntegrityError
from condgen_cli.files.onnx_header import OPSET, WEIGHTS, Weight, parse_graph

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402  # after the check that it is there


def weight(location: str = WEIGHTS, **entries: str) -> Any:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 3], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def graph(*nodes: Any, initializers: Any = None) -> Any:
    value = helper.make_tensor_value_info
    return helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"]), *nodes],
        "graph",
        [value("x", TensorProto.FLOAT, ["rows", 2])],
        [value("y", TensorProto.FLOAT, ["rows", 3])],
        [weight()] if initializers is None else initializers,
    )


def model(of: Any = None, opset: int = OPSET, domain: str = "") -> Any:
    return helper.make_model(of or graph(), opset_imports=[helper.make_opsetid(domain, opset)], ir_version=8)


GOOD = model().SerializeToString()


def test_a_graph_says_what_it_needs() -> None:
    found = parse_graph(GOOD, "step.onnx")
    assert (found.inputs, found.outputs) == (("x",), ("y",))
    assert found.weights == {"w": Weight("float32", (2, 3))}


def body(operator: str) -> Any:
    return helper.make_graph([helper.make_node(operator, ["a"], ["b"])], "body", [], [])


def with_function() -> Any:
    made = model()
    made.functions.append(helper.make_function("", "Relu", ["a"], ["b"], [], [helper.make_opsetid("", OPSET)]))
    return made


def with_two_opsets() -> Any:
    made = model()
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return made


CONSTANT = numpy_helper.from_array(np.zeros(1_000_001, np.float32))
SPARSE = helper.make_sparse_tensor(
    numpy_helper.from_array(np.ones(1, np.float32)), numpy_helper.from_array(np.zeros(1, np.int64)), [3]
)

HOSTILE: dict[str, Callable[[], Any]] = {
    "an operator of somebody's": lambda: model(graph(helper.make_node("Gelu", ["x"], ["z"], domain="com.microsoft"))),
    "an unknown operator": lambda: model(graph(helper.make_node("Exec", ["x"], ["z"]))),
    "an operator that draws": lambda: model(graph(helper.make_node("RandomNormal", [], ["z"], shape=[1]))),
    "a loop without end": lambda: model(graph(helper.make_node("Loop", ["", ""], ["z"], body=body("Identity")))),
    "a bad operator within": lambda: model(graph(helper.make_node("Scan", ["x"], ["z"], body=body("Exec"), num_scan_inputs=1))),
    "operators of another version": lambda: model(opset=OPSET + 1),
    "operators of another domain": lambda: model(domain="ai.onnx.ml"),
    "operators of two domains": with_two_opsets,
    "a function": with_function,
    "a file": lambda: model(graph(initializers=[weight("/etc/passwd")])),
    "a file beside": lambda: model(graph(initializers=[weight("weights", offset="3")])),
    "two weights of a name": lambda: model(graph(initializers=[weight(), weight()])),
    "a file within a constant": lambda: model(graph(helper.make_node("Constant", [], ["z"], value=weight()))),
    "a large constant": lambda: model(graph(helper.make_node("Constant", [], ["z"], value=CONSTANT))),
    "a sparse constant": lambda: model(graph(helper.make_node("Constant", [], ["z"], sparse_value=SPARSE))),
    "too many nodes": lambda: model(graph(*[helper.make_node("Identity", ["x"], [f"z{n}"]) for n in range(20_001)])),
    "a name that moves the cursor": lambda: model(graph(initializers=[TensorProto(name="\x1b[2J", data_type=1, dims=[1])])),
    "strings": lambda: model(graph(initializers=[TensorProto(name="s", data_type=8, dims=[1], string_data=[b"x"])])),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_not_allowed_is_refused(case: str) -> None:
    with pytest.raises(IntegrityError, match=r"step\.onnx is not a graph that condgen runs: "):
        parse_graph(HOSTILE[case]().SerializeToString(), "step.onnx")


def test_a_graph_that_is_too_large_is_refused() -> None:
    with pytest.raises(IntegrityError, match="has more than"):
        parse_graph(bytes(4 * 1024 * 1024 + 1), "step.onnx")


@given(st.data())
def test_damaged_graphs_are_errors_of_their_own_or_harmless(data: st.DataObject) -> None:
    content = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)))
    with suppress(IntegrityError):
        parse_graph(bytes(content[:end]), "step.onnx")


@given(st.binary(max_size=200))
def test_other_bytes_are_errors(content: bytes) -> None:
    try:
        found = parse_graph(content, "step.onnx")
    except IntegrityError:
        return
    assert not found.weights
