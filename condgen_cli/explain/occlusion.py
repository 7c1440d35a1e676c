"""Occlusion: a window at a time is taken away, and the output's probability falls where it mattered."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from condgen_cli.explain.removal import Removal
from condgen_cli.explain.windows import make_windows

__all__ = ["occlude"]


def occlude(removal: Removal) -> NDArray[np.float64]:
    """Importances (T, positions): the fall of each token's log-probability, in nats, when the window around a position is
    removed (Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks", section 4.2; on words Li et al. 2016,
    "Understanding neural networks through representation erasure", eq. 1).

    For position p with the window w(p), and the tokens y₁ … y_T: log P(yₜ | y₁…ₜ₋₁, memory) − log P(yₜ | y₁…ₜ₋₁, memory without
    w(p)). The window is removed in all steps, so that one row of the decoder gives the falls of all tokens.
    """
    windows = make_windows(removal.axes)
    nothing = np.zeros((1, removal.count), bool)
    found = removal.log_probs(np.concatenate([nothing, windows.hidden]))
    return (found[0] - found[1:])[windows.of].T
