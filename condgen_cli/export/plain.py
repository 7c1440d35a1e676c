"""A model as plain ONNX in a folder: graphs with their weights, tokens, an example of its inputs, and a script that runs it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from condgen_cli.errors import CondgenError, UsageError
from condgen_cli.export.pieces import make_graphs
from condgen_cli.export.tracing import import_onnx
from condgen_cli.files import write_atomically
from condgen_cli.files.weights import read_arrays
from condgen_cli.model import SequenceModel
from condgen_cli.running.backends.structures import flatten
from condgen_cli.running.backends.torch import build_model
from condgen_cli.running.bundle import Bundle

__all__ = ["write_plain"]

EXAMPLE = '''\
"""Greedy decoding of the input in example.npz. Needs onnxruntime and numpy: python example.py"""

import json
from pathlib import Path

import numpy as np
import onnxruntime

here = Path(__file__).parent
encode, start, step = (onnxruntime.InferenceSession(here / f"{name}.onnx") for name in ("encode", "start", "step"))
vocabulary = json.loads((here / "tokens.json").read_text(encoding="utf-8"))


def run(session, arrays):
    found = session.run(None, {one.name: arrays[one.name] for one in session.get_inputs()})
    return {one.name.replace("next.", "state."): array for one, array in zip(session.get_outputs(), found)}


arrays = run(encode, np.load(here / "example.npz"))
arrays |= run(start, arrays)
arrays["token"], written = np.array([vocabulary["bos"]]), []
while len(written) < 50 and arrays["token"] != vocabulary["eos"]:
    arrays |= run(step, arrays)
    arrays["logits"][:, vocabulary["never"]] = -np.inf
    arrays["token"] = arrays["logits"].argmax(1)
    written.append(vocabulary["tokens"][int(arrays["token"][0])])
print(*written)
'''
"""The script that is written beside the graphs."""


def write_plain(bundle: Bundle, folder: Path) -> list[Path]:
    """Write a model as plain ONNX; returns the files.

    Args:
        bundle: the model with its files.
        folder: the folder, which is made if it isn't there.
    Raises:
        UsageError: if the model writes no tokens, or the package ``onnx`` is missing.
        CondgenError: if graphs can't be made of it.
        OSError: if a file can't be written.
    """
    onnx = import_onnx()
    model = build_model(bundle)
    if not isinstance(model, SequenceModel):
        raise UsageError(f"{bundle.name} writes no tokens: only models that do can be exported")
    weights = read_arrays(bundle.files, bundle.name)
    graphs = make_graphs(model, {name: array.dtype for name, array in weights.items()})
    item = model.example()
    if item is None:
        raise CondgenError(f"{bundle.name} has no example")
    folder.mkdir(parents=True, exist_ok=True)
    contents = {f"{name}.onnx": _with_weights(onnx, graph, weights) for name, graph in graphs.items()}
    vocabulary = model.vocabulary
    never = [vocabulary.pad, vocabulary.bos, *([] if model.copies_unknown else [vocabulary.unk])]
    tokens = {
        "tokens": [vocabulary.token(index) for index in range(len(vocabulary))],
        "bos": vocabulary.bos,
        "eos": vocabulary.eos,
        "never": never,
    }
    contents["tokens.json"] = json.dumps(tokens, ensure_ascii=False).encode()
    contents["example.py"] = EXAMPLE.encode()
    for name, content in contents.items():
        write_atomically(folder / name, content)
    arrays = {name: np.asarray(array) for name, array in flatten(model.collate([item]), "batch").items()}
    np.savez(folder / "example.npz", **arrays)  # type: ignore[arg-type]  # names of arrays, not of options
    return [folder / name for name in [*contents, "example.npz"]]


def _with_weights(onnx: Any, content: bytes, weights: Mapping[str, NDArray[Any]]) -> bytes:
    """A graph with the data of its weights in it."""
    found = onnx.load_from_string(content)
    for tensor in found.graph.initializer:
        if tensor.external_data:
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            array = weights[tensor.name]
            tensor.raw_data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    written: bytes = found.SerializeToString()
    return written
