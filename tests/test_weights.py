"""Weights in 8 bits: how far off they are, and that they load as any others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from safetensors.numpy import save_file

from condgen_cli.errors import IntegrityError
from condgen_cli.files.weights import SCALE, load_weights, quantize_to_8_bits, read_weights
from condgen_cli.zoo.publish import _reduce_precision


@given(
    st_numpy.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1024, 1100)), elements=st.floats(-1e4, 1e4, width=32))
)
def test_each_number_is_off_by_half_a_step_of_its_row_at_most(matrix: np.ndarray) -> None:
    found = quantize_to_8_bits({"w": matrix})
    assert found["w"].dtype == np.int8
    step = np.abs(matrix).max(1, keepdims=True) / 127
    assert (np.abs(found["w"] * found["w.scale"][:, None] - matrix) <= step * 0.5001 + 1e-30).all()


def test_what_is_small_or_whole_stays_as_it_is() -> None:
    weights = {"bias": np.ones(5000, np.float32), "small": np.ones((3, 3), np.float32), "places": np.ones((64, 64), np.int64)}
    found = quantize_to_8_bits(weights)
    assert found.keys() == weights.keys()
    assert all(found[name] is weights[name] for name in weights)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_published_file_loads_as_floats_of_the_same_shapes(bits: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {
        "convolution": rng.normal(size=(16, 8, 3, 3)).astype(np.float32),
        "matrix": rng.normal(size=(32, 64)).astype(np.float32),
        "gate.scale": rng.normal(size=4).astype(np.float32),  # a parameter that happens to be called so
        "zero": np.zeros((40, 40), np.float32),
    }
    save_file(weights, tmp_path / "run.safetensors")
    (tmp_path / "zoo.safetensors").write_bytes(_reduce_precision(tmp_path / "run.safetensors", bits))
    loaded = load_weights(tmp_path / "zoo.safetensors")
    assert loaded.keys() == weights.keys()
    for name, tensor in loaded.items():
        assert tensor.is_floating_point()
        torch.testing.assert_close(tensor.float(), torch.from_numpy(weights[name]), atol=0.02, rtol=1e-3)
    sizes = [(tmp_path / name).stat().st_size for name in ("zoo.safetensors", "run.safetensors")]
    assert sizes[0] < sizes[1] * (0.35 if bits == 8 else 0.6)


def test_a_model_s_files_are_read_together_and_damage_is_told(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("a.safetensors", "vocabulary.json", "b.safetensors")}
    matrix = np.linspace(-1, 1, 2048, dtype=np.float32).reshape(2, 1024)
    save_file({"w": np.zeros(3, np.float32), "kept": np.ones(2, np.float32)}, files["a.safetensors"])
    save_file(quantize_to_8_bits({"w": matrix}), files["b.safetensors"])
    found = read_weights(files, "toy")
    assert found.keys() == {"w", "kept"}
    np.testing.assert_allclose(found["w"], matrix, atol=1 / 127)
    save_file({"w": np.zeros((2, 1024), np.int8), f"w{SCALE}": np.zeros(3, np.float32)}, files["b.safetensors"])
    with pytest.raises(IntegrityError, match="the weights of toy are damaged"):
        read_weights(files, "toy")
    files["b.safetensors"].write_bytes(b"nothing")
    with pytest.raises(IntegrityError, match=r"cannot read b\.safetensors of toy"):
        read_weights(files, "toy")
