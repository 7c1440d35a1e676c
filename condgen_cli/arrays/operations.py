"""The operations that decoding needs beyond what torch tensors and NumPy arrays have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Operations"]

Array = Any
"""A ``torch.Tensor`` or a ``numpy.ndarray``."""


class Operations(ABC):
    """Operations on the arrays of one library and device. Numbers are 32-bit floats and indices 64-bit integers."""

    # making arrays

    @abstractmethod
    def integers(self, values: Sequence[Any]) -> Array:
        """Nested lists of integers as an array."""

    @abstractmethod
    def booleans(self, values: Sequence[Any]) -> Array:
        """Nested lists of truth values as an array."""

    @abstractmethod
    def arange(self, start: int, stop: int, step: int = 1) -> Array:
        """The integers from ``start`` on, below ``stop``."""

    @abstractmethod
    def filled(self, shape: tuple[int, ...], value: float | bool) -> Array:
        """An array of one value: integers, floats or truth values, as the value is."""

    @abstractmethod
    def filled_like(self, array: Array, value: float) -> Array:
        """An array of the same shape and kind that holds one value."""

    # selecting

    @abstractmethod
    def take(self, array: Array, rows: Array) -> Array:
        """The rows at the indices ``rows`` (n,)."""

    @abstractmethod
    def gather(self, array: Array, indices: Array) -> Array:
        """For each index (…, n) along the last axis, the element of ``array`` (…, size)."""

    @abstractmethod
    def repeat(self, array: Array, times: int) -> Array:
        """The array with each row repeated ``times`` times, copies adjacent."""

    @abstractmethod
    def concatenate(self, arrays: Sequence[Array], axis: int) -> Array:
        """The arrays joined along an axis."""

    @abstractmethod
    def nonzero(self, mask: Array) -> Array:
        """Indices of the true elements, (n, dimensions), in order."""

    @abstractmethod
    def replace(self, array: Array, mask: Array, value: float) -> Array:
        """The array with ``value`` where the mask is true."""

    # reducing and sorting

    @abstractmethod
    def maximum(self, array: Array) -> Array:
        """The largest value along the last axis."""

    @abstractmethod
    def block_maxima(self, array: Array, size: int) -> Array:
        """The largest value of each block of ``size`` columns of (rows, columns); the last block may be shorter."""

    @abstractmethod
    def largest(self, array: Array, count: int, ordered: bool = True) -> tuple[Array, Array]:
        """The ``count`` largest values along the last axis and their indices; ``ordered``: from the largest down."""

    @abstractmethod
    def sort(self, array: Array) -> tuple[Array, Array]:
        """Values along the last axis from the largest down, and their indices."""

    @abstractmethod
    def unsort(self, array: Array, indices: Array) -> Array:
        """The inverse of ``sort``: values (rows, columns) put back to their indices (rows, columns)."""

    @abstractmethod
    def running_sum(self, array: Array) -> Array:
        """Cumulative sums along the last axis."""

    @abstractmethod
    def invert_distribution(self, weights: Array, numbers: NDArray[np.float64]) -> Array:
        """For each row of weights (rows, columns), the column at which their cumulative sum exceeds the row's number in [0, 1)
        times their total."""

    # functions

    @abstractmethod
    def is_finite(self, array: Array) -> Array:
        """Whether each element is a finite number."""

    @abstractmethod
    def at_most(self, array: Array, limit: int) -> Array:
        """Elements above the limit replaced by it."""

    @abstractmethod
    def log_sum_exp(self, array: Array) -> Array:
        """log Σ exp along the last axis."""

    @abstractmethod
    def log_softmax(self, array: Array) -> Array:
        """Log-probabilities of logits along the last axis."""

    @abstractmethod
    def softmax(self, array: Array) -> Array:
        """Probabilities of logits along the last axis."""

    # between libraries

    @abstractmethod
    def to_float(self, array: Array) -> Array:
        """The array as 32-bit floats."""

    @abstractmethod
    def to_numpy(self, array: Array) -> NDArray[Any]:
        """The array in NumPy; floats in 32 bits."""

    @abstractmethod
    def random_keys(self, count: int) -> list[int]:
        """Keys of random streams that nothing seeds but the library's own generator."""

    @abstractmethod
    def inference(self) -> AbstractContextManager[Any]:
        """A block in which no gradients are recorded."""

    @abstractmethod
    def flush_denormals(self) -> AbstractContextManager[Any]:
        """A block in which denormal numbers are zero where the library can do so, since a CPU takes several times as long for
        them."""
