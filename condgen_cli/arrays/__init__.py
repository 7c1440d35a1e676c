"""Operations on the arrays of either backend: torch tensors, or NumPy arrays with ONNX Runtime.

Code that handles both uses what the two have in common (indexing, arithmetic, comparison, ``reshape``, ``sum(axis)``,
``tolist()``) and, for the rest, the operations of ``arrays_of(array)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from condgen_cli.arrays.operations import Array, Operations

__all__ = ["Array", "Operations", "arrays_of", "repeat_rows", "same_kind", "select_rows"]


def arrays_of(array: Array) -> Operations:
    """The operations on arrays of the same library and device as this one."""
    if isinstance(array, np.ndarray):
        from condgen_cli.arrays.numpy_arrays import NumpyOperations

        return NumpyOperations()
    from condgen_cli.arrays.torch_arrays import TorchOperations

    return TorchOperations(array.device)


def select_rows(value: Any, rows: Array) -> Any:
    """The rows at the indices ``rows`` (n,) of an array, or of each array in nested tuples; None stays None."""
    if value is None:
        return None
    if isinstance(value, tuple | list):
        return same_kind(value, [select_rows(part, rows) for part in value])
    return arrays_of(value).take(value, rows)


def repeat_rows(value: Any, times: int) -> Any:
    """An array, or the arrays in nested tuples, with each row repeated ``times`` times, copies adjacent; None stays None."""
    if value is None:
        return None
    if isinstance(value, tuple | list):
        return same_kind(value, [repeat_rows(part, times) for part in value])
    return arrays_of(value).repeat(value, times)


def same_kind(value: Any, parts: list[Any]) -> Any:
    """A list, tuple or named tuple of the same class as ``value`` that holds ``parts``."""
    return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
