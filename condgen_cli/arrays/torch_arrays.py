"""Operations on torch tensors."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from condgen_cli.arrays.denormals import flush_denormals
from condgen_cli.arrays.operations import Operations

__all__ = ["TorchOperations"]


class TorchOperations(Operations):
    """Operations on tensors of a device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def integers(self, values: Sequence[Any]) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=self.device)

    def booleans(self, values: Sequence[Any]) -> Tensor:
        return torch.tensor(values, dtype=torch.bool, device=self.device)

    def arange(self, start: int, stop: int, step: int = 1) -> Tensor:
        return torch.arange(start, stop, step, device=self.device)

    def filled(self, shape: tuple[int, ...], value: float | bool) -> Tensor:
        return torch.full(shape, value, device=self.device)

    def filled_like(self, array: Tensor, value: float) -> Tensor:
        return torch.full_like(array, value)

    def take(self, array: Tensor, rows: Tensor) -> Tensor:
        return array.index_select(0, rows)

    def gather(self, array: Tensor, indices: Tensor) -> Tensor:
        return array.gather(-1, indices)

    def repeat(self, array: Tensor, times: int) -> Tensor:
        return array.repeat_interleave(times, 0)

    def concatenate(self, arrays: Sequence[Tensor], axis: int) -> Tensor:
        return torch.cat(list(arrays), axis)

    def nonzero(self, mask: Tensor) -> Tensor:
        return mask.nonzero()

    def replace(self, array: Tensor, mask: Tensor, value: float) -> Tensor:
        return array.masked_fill(mask, value)

    def maximum(self, array: Tensor) -> Tensor:
        return array.amax(-1)

    def block_maxima(self, array: Tensor, size: int) -> Tensor:
        return F.max_pool1d(array, size, ceil_mode=True)

    def largest(self, array: Tensor, count: int, ordered: bool = True) -> tuple[Tensor, Tensor]:
        values, indices = array.topk(count, -1, sorted=ordered)
        return values, indices

    def sort(self, array: Tensor) -> tuple[Tensor, Tensor]:
        values, indices = array.sort(-1, descending=True)
        return values, indices

    def unsort(self, array: Tensor, indices: Tensor) -> Tensor:
        return torch.zeros_like(array).scatter_(-1, indices, array)

    def running_sum(self, array: Tensor) -> Tensor:
        return array.cumsum(-1)

    def invert_distribution(self, weights: Tensor, numbers: NDArray[np.float64]) -> Tensor:
        exact = torch.float32 if self.device.type == "mps" else torch.float64
        sums = weights.to(exact).cumsum(1)
        total = sums[:, -1:]
        wanted = torch.from_numpy(numbers).to(exact).to(self.device).unsqueeze(1) * total
        # a number just below 1 may be rounded to the total, which no cumulative sum exceeds
        wanted = wanted.minimum(torch.nextafter(total, torch.zeros_like(total)))
        return torch.searchsorted(sums, wanted, right=True).squeeze(1)

    def is_finite(self, array: Tensor) -> Tensor:
        return array.isfinite()

    def at_most(self, array: Tensor, limit: int) -> Tensor:
        return array.clamp(max=limit)

    def log_sum_exp(self, array: Tensor) -> Tensor:
        return array.logsumexp(-1)

    def log_softmax(self, array: Tensor) -> Tensor:
        return array.log_softmax(-1)

    def softmax(self, array: Tensor) -> Tensor:
        return array.softmax(-1)

    def to_float(self, array: Tensor) -> Tensor:
        return array.float()

    def to_numpy(self, array: Tensor) -> NDArray[Any]:
        found: NDArray[Any] = (array.float() if array.is_floating_point() else array).cpu().numpy()
        return found

    def random_keys(self, count: int) -> list[int]:
        """Keys drawn from torch's generator, as needed in training: the samples then depend on that generator's state."""
        drawn: list[int] = torch.randint(2**63 - 1, (count,)).tolist()
        return drawn

    def inference(self) -> AbstractContextManager[Any]:
        return torch.inference_mode()

    def flush_denormals(self) -> AbstractContextManager[Any]:
        return flush_denormals()
