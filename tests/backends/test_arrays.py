"""The operations on arrays: NumPy's give what torch's give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from condgen_cli.arrays import Operations, arrays_of, repeat_rows, select_rows

Operation = Callable[[Operations, Any], Any]

FLOATS = st.floats(-20, 20, width=32)
MATRICES = arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=FLOATS | st.just(-np.inf), unique=True)

OPERATIONS: dict[str, Operation] = {
    "maximum": lambda ops, x: ops.maximum(x),
    "block_maxima": lambda ops, x: ops.block_maxima(x, 4),
    "largest": lambda ops, x: ops.largest(x, min(3, x.shape[1])),
    "largest, all": lambda ops, x: ops.largest(x, x.shape[1]),
    "sort": lambda ops, x: ops.sort(x),
    "unsort": lambda ops, x: ops.unsort(*ops.sort(x)),
    "gather": lambda ops, x: ops.gather(x, ops.integers([[0, x.shape[1] - 1]] * len(x))),
    "take": lambda ops, x: ops.take(x, ops.integers([len(x) - 1, 0])),
    "repeat": lambda ops, x: ops.repeat(x, 3),
    "concatenate": lambda ops, x: ops.concatenate([x, ops.filled((len(x), 2), 1.0)], 1),
    "nonzero": lambda ops, x: ops.nonzero(x > 0),
    "replace": lambda ops, x: ops.replace(x, x < 0, -1.0),
    "is_finite": lambda ops, x: ops.is_finite(x),
    "at_most": lambda ops, x: ops.at_most(ops.arange(0, 5), 2),
    "filled_like": lambda ops, x: ops.filled_like(x, -np.inf),
}
"""Operations whose results are the same to the bit."""

FUNCTIONS: dict[str, Operation] = {
    "log_sum_exp": lambda ops, x: ops.log_sum_exp(x),
    "log_softmax": lambda ops, x: ops.log_softmax(x),
    "softmax": lambda ops, x: ops.softmax(x),
    "running_sum": lambda ops, x: ops.running_sum(x),
}
"""Those that round."""


def both(operation: Operation, matrix: Any) -> tuple[list[Any], list[Any]]:
    """The results in NumPy and in torch, as NumPy arrays."""
    found = []
    for array in (matrix.copy(), torch.from_numpy(matrix.copy())):
        ops = arrays_of(array)
        result = operation(ops, array)
        found.append([ops.to_numpy(part) for part in (result if isinstance(result, tuple) else (result,))])
    return found[0], found[1]


@pytest.mark.parametrize("name", OPERATIONS)
@given(MATRICES)
def test_operations_are_the_same(name: str, matrix: Any) -> None:
    for mine, wanted in zip(*both(OPERATIONS[name], matrix), strict=True):
        assert mine.dtype == wanted.dtype
        np.testing.assert_array_equal(mine, wanted)


@pytest.mark.parametrize("name", FUNCTIONS)
@given(MATRICES)
def test_functions_are_the_same(name: str, matrix: Any) -> None:
    matrix[:, 0] = 1.0  # a row without a finite logit has no softmax
    for mine, wanted in zip(*both(FUNCTIONS[name], matrix), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=2e-5, atol=2e-5)


@given(arrays(np.float32, (3, 5), elements=st.floats(0, 1, width=32)), st.floats(0, 1, exclude_max=True))
def test_draws_are_the_same_and_never_impossible(weights: Any, number: float) -> None:
    weights[:, 2] += 0.125
    numbers = np.array([0.0, number, np.nextafter(1.0, 0.0)])
    (mine,), (wanted,) = both(lambda ops, x: ops.invert_distribution(x, numbers), weights)
    np.testing.assert_array_equal(mine, wanted)
    assert (weights[np.arange(3), mine] > 0).all()


def test_states_are_selected_and_repeated_in_either_library() -> None:
    state = (np.arange(6).reshape(3, 2), None, [np.arange(3)])
    rows = np.array([2, 0])
    assert [part.tolist() for part in (select_rows(state, rows)[0], select_rows(state, rows)[2][0])] == [
        [[4, 5], [0, 1]],
        [2, 0],
    ]
    assert repeat_rows(state, 2)[2][0].tolist() == [0, 0, 1, 1, 2, 2]
    tensors = tuple(torch.from_numpy(part) for part in (state[0], state[2][0]))
    assert select_rows(tensors, torch.from_numpy(rows))[0].tolist() == [[4, 5], [0, 1]]
