"""The one way that a training begins with the weights of another model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor, nn

from condgen_cli.errors import IntegrityError, UsageError
from condgen_cli.weights import load_weights

__all__ = ["check_initial", "initial_weights", "load_initial"]

SHOWN = 3
"""Tensors that an error names."""


def initial_weights(files: Mapping[str, Path]) -> dict[str, Tensor]:
    """The weights among the files of a model, see ``condgen_cli.runner.initial_files``; those in 8 or 16 bits as floats.

    Raises:
        IntegrityError: if a file can't be read, or holds what is no number.
    """
    weights: dict[str, Tensor] = {}
    for name, path in files.items():
        if name.endswith(".safetensors"):
            try:
                found = load_weights(path)
            except IntegrityError as error:
                raise IntegrityError(f"{path.parent.name}/{error.message}", error.hint) from None
            except (OSError, SafetensorError) as error:
                raise IntegrityError(f"cannot read {path}: {error}") from None
            weights |= {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in found.items()}
    return weights


def load_initial(model: nn.Module, name: str, files: Mapping[str, Path], apart: str | tuple[str, ...] = ()) -> None:
    """Load the weights among ``files`` of the model ``name`` that a recipe goes on from; nothing if there are none.

    Args:
        apart: prefixes of the weights that come from elsewhere: what ``files`` lack stays as it is, what the model lacks is
            left out.
    Raises:
        UsageError: if they don't fit the model.
        IntegrityError: as ``initial_weights``.
    """
    weights = initial_weights(files)
    if not weights:
        return
    prefixes = (apart,) if isinstance(apart, str) else apart
    own = model.state_dict()
    weights = {key: tensor for key, tensor in weights.items() if key in own or not key.startswith(prefixes)}
    check_initial(own, name, weights, [key for key in own if not key.startswith(prefixes)])
    model.load_state_dict(weights, strict=False)


def check_initial(own: Mapping[str, Tensor], name: str, weights: Mapping[str, Tensor], needed: Sequence[str]) -> None:
    """Make sure that weights fit a model.

    Args:
        own: the model's tensors.
        name: of the model that the weights come from.
        needed: which of the model's have to be among them.
    Raises:
        UsageError: one line that names the tensors that don't fit, and their sizes.
    """
    faults = list(_misfits(own, weights, needed))
    if faults:
        more = f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise UsageError(
            f"recipe: init: {name} does not fit the model: {'; '.join(faults[:SHOWN])}{more}",
            "[model] has to be that of the model it goes on from; init= begins with random weights",
        )


def _misfits(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], needed: Sequence[str]) -> Iterator[str]:
    for key, tensor in weights.items():
        if key in own and own[key].shape != tensor.shape:
            yield f"{key} is {_size(tensor)} there, {_size(own[key])} here"
    for key in weights:
        if key not in own:
            yield f"{key} is there alone"
    for key in needed:
        if key not in weights:
            yield f"{key} is here alone"


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"
