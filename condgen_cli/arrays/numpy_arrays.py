"""Operations on NumPy arrays."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from condgen_cli.arrays.operations import Operations

__all__ = ["NumpyOperations"]

Array = NDArray[Any]


class NumpyOperations(Operations):
    """Operations on NumPy arrays, on the CPU."""

    def integers(self, values: Sequence[Any]) -> Array:
        return np.array(values, np.int64)

    def booleans(self, values: Sequence[Any]) -> Array:
        return np.array(values, np.bool_)

    def arange(self, start: int, stop: int, step: int = 1) -> Array:
        return np.arange(start, stop, step, dtype=np.int64)

    def filled(self, shape: tuple[int, ...], value: float | bool) -> Array:
        kinds = {bool: np.bool_, int: np.int64}
        return np.full(shape, value, kinds.get(type(value), np.float32))

    def filled_like(self, array: Array, value: float) -> Array:
        return np.full_like(array, value)

    def take(self, array: Array, rows: Array) -> Array:
        return array.take(rows, 0)

    def gather(self, array: Array, indices: Array) -> Array:
        return np.take_along_axis(array, indices, -1)

    def repeat(self, array: Array, times: int) -> Array:
        return array.repeat(times, 0)

    def concatenate(self, arrays: Sequence[Array], axis: int) -> Array:
        return np.concatenate(list(arrays), axis)

    def nonzero(self, mask: Array) -> Array:
        return np.argwhere(mask)

    def replace(self, array: Array, mask: Array, value: float) -> Array:
        replaced = array.copy()
        replaced[np.broadcast_to(mask, array.shape)] = value
        return replaced

    def maximum(self, array: Array) -> Array:
        found: Array = array.max(-1)
        return found

    def block_maxima(self, array: Array, size: int) -> Array:
        rows, columns = array.shape
        whole = columns // size * size
        maxima: Array = array[:, :whole].reshape(rows, whole // size, size).max(2)
        if whole == columns:
            return maxima
        return np.concatenate([maxima, array[:, whole:].max(1, keepdims=True)], 1)

    def largest(self, array: Array, count: int, ordered: bool = True) -> tuple[Array, Array]:
        size = array.shape[-1]
        if count < size:
            indices = np.argpartition(array, size - count, -1)[..., size - count :]
        else:
            indices = np.broadcast_to(np.arange(size), array.shape)
        values = np.take_along_axis(array, indices, -1)
        if ordered:
            order = np.argsort(-values, -1, kind="stable")
            values, indices = np.take_along_axis(values, order, -1), np.take_along_axis(indices, order, -1)
        return values, indices

    def sort(self, array: Array) -> tuple[Array, Array]:
        indices = np.argsort(-array, -1, kind="stable")
        return np.take_along_axis(array, indices, -1), indices

    def unsort(self, array: Array, indices: Array) -> Array:
        placed = np.zeros_like(array)
        np.put_along_axis(placed, indices, array, -1)
        return placed

    def running_sum(self, array: Array) -> Array:
        return array.cumsum(-1)

    def invert_distribution(self, weights: Array, numbers: NDArray[np.float64]) -> Array:
        sums = weights.astype(np.float64).cumsum(1)
        total = sums[:, -1:]
        # a number just below 1 may be rounded to the total, which no cumulative sum exceeds
        wanted = np.minimum(numbers[:, None] * total, np.nextafter(total, 0.0))
        found: Array = (sums <= wanted).sum(1)
        return found

    def is_finite(self, array: Array) -> Array:
        return np.isfinite(array)

    def at_most(self, array: Array, limit: int) -> Array:
        return np.minimum(array, limit)

    def log_sum_exp(self, array: Array) -> Array:
        peak = array.max(-1, keepdims=True)
        peak = np.where(np.isfinite(peak), peak, np.zeros_like(peak))
        shifted = array - peak
        np.exp(shifted, out=shifted)
        with np.errstate(divide="ignore"):  # log 0 is -inf, as in torch
            found: Array = np.log(shifted.sum(-1)) + peak[..., 0]
        return found

    def log_softmax(self, array: Array) -> Array:
        found: Array = array - self.log_sum_exp(array)[..., None]
        return found

    def softmax(self, array: Array) -> Array:
        shifted = np.exp(array - array.max(-1, keepdims=True))
        found: Array = shifted / shifted.sum(-1, keepdims=True)
        return found

    def to_float(self, array: Array) -> Array:
        return array.astype(np.float32, copy=False)

    def to_numpy(self, array: Array) -> Array:
        return self.to_float(array) if array.dtype.kind == "f" else array

    def random_keys(self, count: int) -> list[int]:
        return [secrets.randbits(63) for _ in range(count)]

    def inference(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def flush_denormals(self) -> AbstractContextManager[Any]:
        # NumPy can't, and ONNX Runtime would for the rest of the process
        return nullcontext()
