"""What is in weights beyond names and shapes: what no model can compute with is refused in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from condgen_cli.cli.app import run
from condgen_cli.files.weights import quantize_to_8_bits
from condgen_cli.zoo.sources import bundled_source

Arrays = dict[str, np.ndarray]


def _matrix(weights: Arrays) -> str:
    """The name of the largest matrix in 8 bits."""
    return max((name for name, value in weights.items() if value.dtype == np.int8), key=lambda name: weights[name].size)


def _with_nan(weights: Arrays) -> None:
    name = _matrix(weights)
    weights[f"{name}.scale"] = weights[f"{name}.scale"].copy()
    weights[f"{name}.scale"][0] = np.nan


def _with_infinity(weights: Arrays) -> None:
    name = next(name for name, value in weights.items() if value.dtype.kind == "f" and not name.endswith(".scale"))
    weights[name] = np.full_like(weights[name], np.inf)


def _of_64_bits(weights: Arrays) -> None:
    name = next(name for name, value in weights.items() if value.dtype.kind == "f" and not name.endswith(".scale"))
    weights[name] = np.full(weights[name].shape, 1e200)


def _whole(weights: Arrays) -> None:
    weights.pop(f"{_matrix(weights)}.scale")


def _boolean(weights: Arrays) -> None:
    name = _matrix(weights)
    weights.pop(f"{name}.scale")
    weights[name] = weights[name] > 0


def _one_scale(weights: Arrays) -> None:
    name = _matrix(weights)
    weights[f"{name}.scale"] = weights[f"{name}.scale"][:1]


def _scales_of_columns(weights: Arrays) -> None:
    name = _matrix(weights)
    weights[f"{name}.scale"] = np.ones(weights[name].shape, np.float32)


def _whole_scale(weights: Arrays) -> None:
    name = _matrix(weights)
    weights[f"{name}.scale"] = np.ones(len(weights[name]), np.int32)


def _scale_of_nothing(weights: Arrays) -> None:
    weights["nothing.scale"] = np.ones(3, np.float32)


CHANGES = [
    (_with_nan, "holds a value that is no finite number"),
    (_with_infinity, "holds a value that is no finite number"),
    (_of_64_bits, "holds a value that is no finite number"),
    (_whole, "of another kind of number"),
    (_boolean, "of another kind of number"),
    (_one_scale, "but its scale is 1 of float32"),
    (_scales_of_columns, "but its scale is"),
    (_whole_scale, "of int32"),
    (_scale_of_nothing, "nothing.scale unexpected"),
]


@pytest.mark.parametrize(("change", "told"), CHANGES, ids=[change.__name__.strip("_") for change, _ in CHANGES])
def test_damaged_weights_are_told_in_one_line(tmp_path: Path, capsys: Any, change: Callable[[Arrays], None], told: str) -> None:
    own = bundled_source()
    entry = own.names["ntm-copy"]
    for file in entry.files:
        weights = quantize_to_8_bits(load_file(own.places(file)[0])) if file.path.endswith(".safetensors") else None
        if weights is None:
            shutil.copy(own.places(file)[0], tmp_path / file.path)
        else:
            change(weights)
            save_file(weights, tmp_path / file.path)
    description = {
        "task": entry.task,
        "architecture": entry.architecture.model_dump(),
        "decoding": entry.decoding,
        "files": [file.path for file in entry.files],
    }
    (tmp_path / "model.json").write_text(json.dumps(description))
    assert run(["ntm", "copy", "--length", "3", "--model", str(tmp_path), "--format", "json"]) == 6
    captured = capsys.readouterr()
    assert captured.err.count("error: ") == 1
    assert told in captured.err
    assert json.loads(captured.out)["error"]["code"] == 6
