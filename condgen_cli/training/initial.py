"""Starting a training run from the weights of another model."""

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
"""Number of tensors that an error names."""

Vocabulary = TypeVar("Vocabulary")


class InitialModel:
    """The model that a training run starts from: a zoo model or that of another run. Without ``init`` it is empty (False).

    Args:
        name: id or alias of a zoo model, or the folder of a run; None or empty: no initial model.
        key: the recipe's key that names the model, for messages.
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
        """The vocabulary in ``file``, read by ``load``; if the model has no such file, the result of ``build``."""
        return load(self.files[file]) if file in self.files else build()

    def weights(self) -> dict[str, Tensor]:
        """All weights by name; those stored in 8 or 16 bits as 32-bit floats.

        Raises:
            IntegrityError: if a file can't be read, or holds values that are not finite.
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
        """Load the weights into a model; do nothing if there are none.

        Args:
            model: model whose weights are replaced.
            optional: prefixes of weights that may be missing; the model keeps its own.
            apart: prefixes of weights that may be missing on either side.
            weights: weights to load; None: this initial model's.
        Raises:
            UsageError: if they don't fit the model; the message names the tensors and their shapes.
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
                f"[model] has to match the initial model; {self.key}= starts from random weights",
            )
        model.load_state_dict(weights, strict=False)


def _misfits(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], needed: Sequence[str]) -> Iterator[str]:
    for key, tensor in weights.items():
        if key in own and own[key].shape != tensor.shape:
            yield f"{key} is {_size(tensor)} there, {_size(own[key])} here"
    for key in weights:
        if key not in own:
            yield f"{key} is missing here"
    for key in needed:
        if key not in weights:
            yield f"{key} is missing there"


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"
