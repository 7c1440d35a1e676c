"""Speed of transcription."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from condgen_cli.metrics import Metric

if TYPE_CHECKING:
    from condgen_cli.generation import Generation
    from condgen_cli.item import Item

__all__ = ["RealTimeFactor"]


class RealTimeFactor(Metric):
    """Wall-clock seconds per second of sound, for reading, features, model and search in batches.

    The duration of sound is that of the positions attended to; sound without attention over time doesn't count.

    Statistics: the sums of both durations.
    """

    keys = ("rtf",)
    signature = "wall"
    reads_attention = True
    lower_is_better = True

    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        rows = [(one.seconds, length) if (length := _seconds_of_sound(one)) else (0.0, 0.0) for one in generations]
        return np.array(rows, np.float64).reshape(len(rows), 2)

    def score(self, totals: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
        taken, heard = totals[..., 0], totals[..., 1]
        return {"rtf": np.divide(taken, heard, out=np.full_like(taken, np.nan), where=heard > 0)}

    def remarks(self, items: Sequence[Item], totals: NDArray[np.float64]) -> dict[str, str]:
        return {} if totals[1] else {"rtf": "the model has no attention over time"}


def _seconds_of_sound(generation: Generation) -> float:
    for map in generation.attention.values():
        axis = map.axes[-1]
        if axis.kind == "time" and len(axis) > 1:
            starts = np.array(axis.labels, np.float64)
            return float((starts[-1] - starts[0]) * len(axis) / (len(axis) - 1))
    return 0.0
