"""Graphs in sessions of ONNX Runtime, which get their weights from the model's own files.

The library is imported when the first session is opened: plugins import the classes here for models in torch as well.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from condgen_cli.errors import IntegrityError
from condgen_cli.files.onnx_header import Graph, parse_graph, read_graph

__all__ = ["GraphSession", "open_session"]


class GraphSession:
    """A graph that can be run.

    Args:
        content: the graph, as ``condgen_cli.files.onnx_header`` checks it.
        graph: what it needs and returns.
        weights: all weights of the model by name, of which it uses those that it names.
        name: name of the graph, for errors.
        threads: number of threads; None: as many as ``OMP_NUM_THREADS`` says, or the machine has.
    Raises:
        IntegrityError: if the weights don't fit the graph, or ONNX Runtime refuses it.
    """

    def __init__(
        self, content: bytes, graph: Graph, weights: Mapping[str, NDArray[Any]], name: str, threads: int | None = None
    ) -> None:
        import onnxruntime

        onnxruntime.set_default_logger_severity(4)  # what goes wrong is raised; warnings about graphs are for their authors
        self.graph = graph
        self.name = name
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or _thread_count()
        options.inter_op_num_threads = 1
        # weights of 8 bits become floats once, as the session is opened
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # ONNX Runtime reads the arrays where they lie: they must live as long as the session
        self._weights = [_matching(name, label, wanted, weights) for label, wanted in graph.weights.items()]
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in self._weights]
        options.add_external_initializers(list(graph.weights), values)
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has a class for each kind of failure, and no common one
            raise IntegrityError(f"ONNX Runtime refuses the graph {name}: {_first_line(error)}") from error

    def shape(self, name: str) -> Sequence[int | str | None]:
        """The shape of an input, with a name or None in place of a length that is free."""
        shapes: dict[str, Sequence[int | str | None]] = {one.name: one.shape for one in self._session.get_inputs()}
        return shapes[name]

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The graph's outputs by name, from arrays by name, of which it takes those that it needs."""
        found = self._session.run(None, {name: inputs[name] for name in self.graph.inputs})
        return dict(zip(self.graph.outputs, found, strict=True))


def open_session(
    path: Path, weights: Mapping[str, NDArray[Any]], threads: int | None = None, content: bytes | None = None
) -> GraphSession:
    """The session of a graph's file, or of its ``content``; arguments and errors as of ``GraphSession``."""
    if content is None:
        content, graph = read_graph(path)
    else:
        graph = parse_graph(content, path.name)
    return GraphSession(content, graph, weights, path.name, threads)


def _matching(graph: str, name: str, wanted: Any, weights: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    array = weights.get(name)
    if array is None:
        raise IntegrityError(f"{graph} needs a weight {name:.80}, which the model doesn't have")
    if array.shape != wanted.shape or array.dtype != np.dtype(wanted.dtype):
        raise IntegrityError(f"{graph} needs another shape or kind of number of the weight {name:.80} than the model has")
    return array


def _thread_count() -> int:
    text = os.environ.get("OMP_NUM_THREADS", "")
    if text.isdecimal() and int(text):
        return int(text)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
