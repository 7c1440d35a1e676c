"""Operations over all processes of a training run."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator
from torch import Tensor

from condgen_cli.errors import UsageError
from condgen_cli.running.devices import find_device

__all__ = ["any_process", "is_main_process", "make_accelerator", "sum_over_processes"]


def make_accelerator(device: str, precision: str) -> Accelerator:
    """The accelerator for a device and a precision, in one process or several.

    Raises:
        UsageError: if there is no such device, or half precision is requested on a CPU.
    """
    on_cpu = find_device(device).type == "cpu"
    if on_cpu and precision != "no":
        raise UsageError(f"training.precision: {precision} needs a GPU", "training.precision=no")
    return Accelerator(cpu=on_cpu, mixed_precision=precision)


def is_main_process() -> bool:
    """Whether this is the first of the processes that ``accelerate launch`` or ``torchrun`` has started.

    This reads the environment: ``PartialState``, created before ``train`` has chosen the device, would fix the number of
    processes to one.
    """
    return os.environ.get("RANK", "0") == "0"


def any_process(accelerator: Accelerator, flag: bool) -> bool:
    """Whether a flag is set on any of the processes."""
    if accelerator.num_processes == 1:
        return flag
    return bool(sum_over_processes(accelerator, torch.tensor([float(flag)])).item())


def sum_over_processes(accelerator: Accelerator, tensor: Tensor) -> Tensor:
    """The sum of a tensor over all processes, on the CPU."""
    if accelerator.num_processes == 1:
        return tensor
    # not every device has doubles
    total: Tensor = accelerator.reduce(tensor.float().to(accelerator.device), "sum")
    return total.cpu()
