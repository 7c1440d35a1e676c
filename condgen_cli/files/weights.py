"""Weight files, in which matrices may be quantized to 8 bits: integers from -127 to 127 with one scale per row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from condgen_cli.errors import IntegrityError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "check_finite",
    "load_arrays",
    "load_weights",
    "quantize_to_8_bits",
    "read_arrays",
    "read_weights",
    "save_weights",
]

SCALE = ".scale"
"""Suffix of the name of a quantized matrix's scales, (rows,)."""
LARGEST = 127
LEAST = 1024
"""Smallest matrix that is quantized, in elements; smaller ones would save nothing."""


def read_weights(files: Mapping[str, Path], model: str) -> dict[str, Tensor]:
    """All weights of a model; of a weight in several files, the last counts.

    Args:
        files: the model's files by name; those ending in ``.safetensors`` hold weights.
        model: name of the model, for errors.
    Raises:
        IntegrityError: if a file can't be read or is damaged.
    """
    return _read_all(files, model, load_weights)


def read_arrays(files: Mapping[str, Path], model: str) -> dict[str, NDArray[Any]]:
    """The arrays of a model's weight files as they are stored, without torch: quantized matrices beside their scales.

    Arguments and errors are those of ``read_weights``.
    """
    return _read_all(files, model, load_arrays)


def _read_all(files: Mapping[str, Path], model: str, load: Callable[[Path], Mapping[str, Any]]) -> dict[str, Any]:
    from safetensors import SafetensorError

    weights: dict[str, Any] = {}
    for name, path in files.items():
        if name.endswith(".safetensors"):
            try:
                weights |= load(path)
            except IntegrityError as error:
                raise IntegrityError(f"the weights of {model} are damaged: {error.message}", error.hint) from None
            except (OSError, SafetensorError) as error:
                raise IntegrityError(f"cannot read {name} of {model}: {error}") from error
    return weights


def load_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a safetensors file; quantized matrices are converted to 32-bit floats.

    Raises:
        OSError, safetensors.SafetensorError: if it can't be read.
        IntegrityError: if a weight is infinite or NaN, as after diverged training, or a matrix and its scale don't match.
    """
    from safetensors.torch import load_file

    weights = load_file(path)
    for name in [name for name in weights if name.endswith(SCALE)]:
        matrix = name.removesuffix(SCALE)
        # a float parameter may have such a name, too
        if matrix in weights and not weights[matrix].is_floating_point():
            weights[matrix] = _dequantize(weights[matrix], weights.pop(name), f"{path.name}: {matrix:.80}")
    check_finite(weights, path.name)
    return weights


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file as they are stored.

    Raises:
        OSError, safetensors.SafetensorError: if it can't be read.
        IntegrityError: if a float is infinite or NaN, or of a kind that NumPy lacks.
    """
    from safetensors.numpy import load_file

    try:
        weights: dict[str, NDArray[Any]] = load_file(path)
    except (KeyError, TypeError) as error:  # 16-bit brain floats and 8-bit floats
        raise IntegrityError(f"{path.name} holds numbers of the kind {error}, which NumPy lacks", "--backend torch") from None
    for name, array in weights.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise IntegrityError(f"{path.name}: {name:.80} holds a value that is no finite number", "train it again")
    return weights


def _dequantize(whole: Tensor, scale: Tensor, place: str) -> Tensor:
    """A quantized matrix (rows, …) as floats: each row times its ``scale`` (rows,)."""
    if str(whole.dtype) != "torch.int8" or whole.dim() < 2:
        raise IntegrityError(f"{place} has a scale, but is not a matrix of 8 bits")
    if not scale.is_floating_point() or scale.shape != whole.shape[:1]:
        found = "x".join(map(str, scale.shape)) or "a single number"
        raise IntegrityError(
            f"{place} has {len(whole)} rows, but its scale is {found} of {str(scale.dtype).removeprefix('torch.')}"
        )
    return whole.float() * scale.float().view(-1, *[1] * (whole.dim() - 1))


def save_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file with the permissions of the umask, unlike ``save_file``.

    Raises:
        IntegrityError: if a weight is infinite or NaN.
        OSError: if it can't be written.
    """
    from safetensors.torch import save

    check_finite(weights, path.name)
    path.write_bytes(save(dict(weights)))


def check_finite(weights: Mapping[str, Tensor], place: str) -> None:
    """Check that all weights are finite.

    Args:
        weights: tensors by name.
        place: where they are from, for the error.
    Raises:
        IntegrityError: if one is infinite, NaN or complex; the message names the first such tensor.
    """
    for name, tensor in weights.items():
        # checked in 32 bits, whose range is smaller than that of 64; no model has complex weights
        if tensor.is_complex() or (tensor.is_floating_point() and not tensor.float().isfinite().all()):
            raise IntegrityError(f"{place}: {name:.80} holds a value that is no finite number", "train it again")


def quantize_to_8_bits(weights: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Quantize large matrices to 8 bits. The error of an element is at most half a step: the largest absolute value of its row
    / 254."""
    found: dict[str, NDArray[Any]] = {}
    for name, value in weights.items():
        if value.dtype not in (np.float32, np.float16) or value.ndim < 2 or value.size < LEAST:
            found[name] = value
            continue
        rows = value.astype(np.float32).reshape(len(value), -1)
        scale = np.abs(rows).max(1) / LARGEST
        scale[scale == 0] = 1
        found[name] = np.rint(rows / scale[:, None]).astype(np.int8).reshape(value.shape)
        found[name + SCALE] = scale.astype(np.float32)
    return found
