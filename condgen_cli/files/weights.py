"""Files of weights, which may hold matrices in 8 bits: each row as whole numbers from -127 to 127, and a scale for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from condgen_cli.errors import IntegrityError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["check_finite", "load_weights", "quantize_to_8_bits", "read_weights", "save_weights"]

SCALE = ".scale"
"""Added to a matrix's name: (rows,), what its whole numbers are multiplied by."""
LARGEST = 127
LEAST = 1024
"""Numbers that a matrix must have: smaller ones save nothing."""


def read_weights(files: Mapping[str, Path], model: str) -> dict[str, Tensor]:
    """All the weights of a model; of a name that two files have, the later one's.

    Args:
        files: the model's files by name; weights are those that end in ``.safetensors``.
        model: its name, for errors.
    Raises:
        IntegrityError: if a file can't be read or is damaged.
    """
    from safetensors import SafetensorError

    weights: dict[str, Tensor] = {}
    for name, path in files.items():
        if name.endswith(".safetensors"):
            try:
                weights |= load_weights(path)
            except IntegrityError as error:
                raise IntegrityError(f"the weights of {model} are damaged: {error.message}", error.hint) from None
            except (OSError, SafetensorError) as error:
                raise IntegrityError(f"cannot read {name} of {model}: {error}") from error
    return weights


def load_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a safetensors file; matrices in 8 bits come as 32-bit floats.

    Raises:
        OSError, safetensors.SafetensorError: if it can't be read.
        IntegrityError: if a weight is no number, as after a training that diverged, or a matrix and its scale don't fit.
    """
    from safetensors.torch import load_file

    weights = load_file(path)
    for name in [name for name in weights if name.endswith(SCALE)]:
        matrix = name.removesuffix(SCALE)
        # a parameter of floats may happen to be called so
        if matrix in weights and not weights[matrix].is_floating_point():
            weights[matrix] = _dequantize(weights[matrix], weights.pop(name), f"{path.name}: {matrix:.80}")
    check_finite(weights, path.name)
    return weights


def _dequantize(whole: Tensor, scale: Tensor, place: str) -> Tensor:
    """A matrix of whole numbers, (rows, …), as floats; each row times its number of ``scale``, (rows,)."""
    if str(whole.dtype) != "torch.int8" or whole.dim() < 2:
        raise IntegrityError(f"{place} has a scale, but is not a matrix of 8 bits")
    if not scale.is_floating_point() or scale.shape != whole.shape[:1]:
        found = "x".join(map(str, scale.shape)) or "a single number"
        raise IntegrityError(
            f"{place} has {len(whole)} rows, but its scale is {found} of {str(scale.dtype).removeprefix('torch.')}"
        )
    return whole.float() * scale.float().view(-1, *[1] * (whole.dim() - 1))


def save_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file as any other file is written: whoever the umask lets may read it, which ``save_file``'s can't.

    Raises:
        IntegrityError: if a weight is no number.
        OSError: if it can't be written.
    """
    from safetensors.torch import save

    check_finite(weights, path.name)
    path.write_bytes(save(dict(weights)))


def check_finite(weights: Mapping[str, Tensor], place: str) -> None:
    """Make sure that weights are numbers.

    Args:
        place: what holds them, for the error.
    Raises:
        IntegrityError: if one is infinite or not a number; it names the first tensor.
    """
    for name, tensor in weights.items():
        # 64 bits may hold numbers that 32 don't; a complex number is none that any model here has
        if tensor.is_complex() or (tensor.is_floating_point() and not tensor.float().isfinite().all()):
            raise IntegrityError(f"{place}: {name:.80} holds what is no number", "train it anew, or take another model")


def quantize_to_8_bits(weights: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Weights with their large matrices in 8 bits, each number off by half a step at most: its row's largest by 254."""
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
