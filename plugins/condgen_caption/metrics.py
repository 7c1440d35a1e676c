"""Grounding of words in the scenes of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from condgen_caption.clips import scenes_of
from condgen_cli.data.video import evenly
from condgen_cli.metrics import Metric

if TYPE_CHECKING:
    from condgen_cli.generation import Generation
    from condgen_cli.item import Item

__all__ = ["Grounding"]


class Grounding(Metric):
    """Mean share of a word's attention on the frames of its scene, percent; and that scene's share of the frames (chance).

    An output is divided into scenes at the word "then". Words of scenes beyond the clip's last have no attention on the right
    frames. The words "then" and the end token don't count, nor do clips with one scene, nor clips without ``meta["scenes"]``,
    the scene of each frame.

    Statistics: sums over words of attention and of chance, and the number of words.
    """

    keys = ("grounding", "grounding_chance")
    signature = "scenes:then"
    item_key = "grounding"
    reads_attention = True

    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        rows = [_row(item, one) for item, one in zip(items, generations, strict=True)]
        return np.array(rows, np.float64).reshape(len(rows), 3)

    def score(self, totals: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
        words = totals[..., 2:]
        shares = 100 * np.divide(totals[..., :2], words, out=np.full_like(totals[..., :2], np.nan), where=words > 0)
        return {key: shares[..., column] for column, key in enumerate(self.keys)}

    def remarks(self, items: Sequence[Item], totals: NDArray[np.float64]) -> dict[str, str]:
        return {} if totals[2] else dict.fromkeys(self.keys, "no clip has several known scenes")


def _row(item: Item, generation: Generation) -> list[float]:
    row = [0.0, 0.0, 0.0]
    frames = np.array(item.meta.get("scenes", ()))
    map = next((map for map in generation.attention.values() if [axis.kind for axis in map.positions] == ["frames"]), None)
    if map is None or not len(frames) or frames.max() == 0:
        return row
    frames = frames[evenly(list(range(len(frames))), len(frames), map.weights.shape[1])]  # a model may read fewer
    words = [token for token in generation.tokens if token != "<eos>"]
    for weights, scene in zip(map.weights, scenes_of(words), strict=False):
        if scene >= 0:
            right = frames == scene
            row = [row[0] + float(weights[right].sum()), row[1] + float(right.mean()), row[2] + 1]
    return row
