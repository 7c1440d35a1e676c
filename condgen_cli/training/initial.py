"""The one way that a training begins with the weights of another model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from condgen_cli.errors import UsageError
from condgen_cli.files.weights import read_weights
from condgen_cli.training.library import initial_bundle

__all__ = ["InitialModel"]

SHOWN = 3
"""Tensors that an error names."""

Vocabulary = TypeVar("Vocabulary")


class InitialModel:
    """The model that a training begins with: one of the zoo, or that of a run. A recipe without ``init`` has an empty one.

    Args:
        name: an id or alias of the zoo, or the folder of a run; None or empty: there is none.
        key: of the recipe that names it, for messages.
    Raises:
        NotFoundError, IntegrityError, NetworkError: as ``condgen_cli.training.library.initial_bundle``.
    """

    def __init__(self, name: str | None, key: str = "init") -> None:
        self.name = name or ""
        self.key = key
        self.files: Mapping[str, Path] = initial_bundle(name).files if name else {}

    def __bool__(self) -> bool:
        return bool(self.files)

    def vocabulary(self, file: str, load: Callable[[Path], Vocabulary], build: Callable[[], Vocabulary]) -> Vocabulary:
        """The vocabulary in ``file``, or what ``build`` makes of the training data where the model has no such file."""
        return load(self.files[file]) if file in self.files else build()

    def weights(self) -> dict[str, Tensor]:
        """All weights; those in 8 or 16 bits as floats.

        Raises:
            IntegrityError: if a file can't be read, or holds what is no number.
        """
        found = read_weights(self.files, self.name)
        return {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in found.items()}

    def load_into(
        self,
        model: nn.Module,
        *,
        optional: tuple[str, ...] = (),
        apart: tuple[str, ...] = (),
        weights: dict[str, Tensor] | None = None,
    ) -> None:
        """Load the weights into a model; nothing if there are none.

        Args:
            optional: prefixes of weights that may be missing; the model keeps its own.
            apart: prefixes of weights that come from elsewhere: may be missing, and are left out where the model lacks them.
            weights: in place of this model's own.
        Raises:
            UsageError: if they don't fit the model: one line that names the tensors at fault, and their sizes.
            IntegrityError: as ``weights``.
        """
        weights = self.weights() if weights is None else weights
        if not weights:
            return
        own = model.state_dict()
        weights = {key: tensor for key, tensor in weights.items() if key in own or not key.startswith(apart)}
        faults = list(_misfits(own, weights, [key for key in own if not key.startswith((*optional, *apart))]))
        if faults:
            more = f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
            raise UsageError(
                f"recipe: {self.key}: {self.name} does not fit the model: {'; '.join(faults[:SHOWN])}{more}",
                f"[model] has to be that of the model it goes on from; {self.key}= begins with random weights",
            )
        model.load_state_dict(weights, strict=False)


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
