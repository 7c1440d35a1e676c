from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from condgen_cli.training.batches import batches_of_like_length


@given(st.integers(0, 60), st.integers(1, 20), st.integers(1, 12))
def test_an_epoch_s_batches_are_full_or_one_smaller(count: int, size: int, parts: int) -> None:
    order = batches_of_like_length(np.arange(count), size, np.random.default_rng(0), parts)
    assert len(np.unique(order)) == order.size
    if 0 < count < size:
        assert order.shape == (1, count)
    else:
        assert order.shape[0] == count // size
        assert order.size == 0 or order.shape[1] == size
