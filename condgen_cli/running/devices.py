"""Choosing the device of a model, and moving batches to it. Torch is imported only where it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from condgen_cli.arrays import same_kind
from condgen_cli.errors import UsageError

if TYPE_CHECKING:
    import torch

__all__ = ["Movable", "find_device", "inference", "move"]


@runtime_checkable
class Movable(Protocol):
    """A tensor, or a batch that moves its parts itself."""

    def to(self, device: torch.device, *, non_blocking: bool) -> Any: ...


def find_device(name: str) -> torch.device:
    """The device ``cpu``, ``cuda`` or ``mps``; ``auto`` is the fastest available.

    Raises:
        UsageError: if it isn't available.
    """
    import torch

    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if has[device])
    if not has.get(name):
        raise UsageError(f"no {name} device here", f"--device {next(device for device, there in has.items() if there)}")
    return torch.device(name)


def inference(device: torch.device | None) -> AbstractContextManager[Any]:
    """A block in which torch records no gradients; for None, the device of ONNX Runtime, nothing is to be done."""
    if device is None:
        return nullcontext()
    import torch

    return torch.inference_mode()


def move(inputs: Any, device: torch.device | None) -> Any:
    """A collated batch on the device: all ``Movable`` parts, also within mappings, lists and tuples; other parts unchanged.
    None is the device of ONNX Runtime."""
    if device is None or device.type == "cpu":
        return inputs
    if isinstance(inputs, Movable):
        return inputs.to(device, non_blocking=True)
    if isinstance(inputs, Mapping):
        return {name: move(part, device) for name, part in inputs.items()}
    if isinstance(inputs, list | tuple):
        return same_kind(inputs, [move(part, device) for part in inputs])
    return inputs
