"""Whether the map of a noun lies on the thing that it names: pointing game and mass, for photos with boxes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from condgen_caption.boxes import Box
from condgen_caption.nouns import find_mentions
from condgen_cli.metrics import Metric
from condgen_cli.render.pieces import joins_previous, words

if TYPE_CHECKING:
    from condgen_cli.generation import AttentionMap, Generation
    from condgen_cli.item import Item

__all__ = ["Pointing", "coverage"]


class Pointing(Metric):
    """The pointing game (Zhang et al. 2018, "Top-down neural attention by excitation backprop"), and the mass on the boxes.

    The model is made to write each reference of a photo. For each noun that names a class with boxes in the photo:

    * ``pointing``: how often the centre of the strongest cell of the noun's map lies in a box of the class, percent; of n
      equally strong cells each counts 1/n;
    * ``pointing_centre``: the same if the photo's centre is always the strongest place;
    * ``mass``: share of the map's weights on the boxes of the class, percent; a cell that a box covers in part counts in part;
    * ``box_area``: share of the photo that these boxes cover, percent: what an even map has in both, by chance.

    The map of a noun of several tokens is the mean of theirs. Only nouns in the model's vocabulary are forced, so others don't
    count. The map is the first one on a grid. Photos without ``meta["boxes"]``, tuples like ``Box``, don't count.

    Statistics: sums over nouns of the four, and the number of nouns.
    """

    keys = ("pointing", "pointing_centre", "mass", "box_area")
    signature = "nouns:coco-80|map:forced-references"
    item_key = "mass"
    reads_output = False
    reads_references = True

    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        rows = [_row(item.meta.get("boxes", ()), one.references) for item, one in zip(items, generations, strict=True)]
        return np.array(rows, np.float64).reshape(len(rows), 5)

    def score(self, totals: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
        nouns = totals[..., 4:]
        shares = 100 * np.divide(totals[..., :4], nouns, out=np.full_like(totals[..., :4], np.nan), where=nouns > 0)
        return {key: shares[..., column] for column, key in enumerate(self.keys)}

    def remarks(self, items: Sequence[Item], totals: NDArray[np.float64]) -> dict[str, str]:
        if totals[4]:
            return {}
        boxes = any(item.meta.get("boxes") for item in items)
        why = "no noun of a caption has both a map and boxes" if boxes else "no photo has boxes"
        return dict.fromkeys(self.keys, why)


def _row(boxes: Sequence[Box], captions: Iterable[Generation]) -> NDArray[np.float64]:
    row = np.zeros(5)
    names = {name for name, *_ in boxes}
    for caption in captions:
        map = _grid_map(caption.attention)
        if map is None:
            continue
        shares = map.weights.reshape(len(map.steps), map.heads, *(len(axis) for axis in map.positions)).mean(1)
        for first, last, classes in _nouns(map):
            if classes & names:
                row += [*_score(shares[first:last].mean(0), [box for box in boxes if box[0] in classes]), 1]
    return row


def _grid_map(maps: Mapping[str, AttentionMap]) -> AttentionMap | None:
    return next((map for map in maps.values() if [axis.kind for axis in map.positions] == ["grid", "grid"]), None)


def _nouns(map: AttentionMap) -> Iterable[tuple[int, int, frozenset[str]]]:
    """For each noun the indices of its first token and behind its last one, and its classes."""
    pieces = words(map.steps)
    starts = [index for index, joined in enumerate(joins_previous(map.steps)) if not joined]
    ends = [*starts[1:], len(pieces)]
    texts = ["".join(pieces[start:end]).strip().lower() for start, end in zip(starts, ends, strict=True)]
    return [(starts[one.start], ends[one.end - 1], one.classes) for one in find_mentions(texts)]


def _score(shares: NDArray[np.float32], boxes: Sequence[Box]) -> tuple[float, float, float, float]:
    """Hit of the strongest cell, hit of the photo's centre, mass and area of a noun's map (h, w)."""
    height, width = shares.shape
    rows, columns = np.nonzero(shares == shares.max())
    hits = _inside((columns + 0.5) / width, (rows + 0.5) / height, boxes)
    covered = coverage(boxes, height, width)
    total = float(shares.sum())
    mass = float((shares * covered).sum()) / total if total > 0 else float(covered.mean())
    centre = _inside(np.array([0.5]), np.array([0.5]), boxes)
    return float(hits.mean()), float(centre.mean()), mass, float(covered.mean())


def _inside(x: NDArray[np.float64], y: NDArray[np.float64], boxes: Iterable[Box]) -> NDArray[np.bool_]:
    """Whether points (n,) lie in any box."""
    inside = np.zeros(len(x), bool)
    for _, left, top, width, height in boxes:
        inside |= (left <= x) & (x <= left + width) & (top <= y) & (y <= top + height)
    return inside


def coverage(boxes: Iterable[Box], height: int, width: int) -> NDArray[np.float64]:
    """The share of each cell of a grid (height, width) over the photo that lies in any of the boxes."""
    corners = np.array([(left, top, left + w, top + h) for _, left, top, w, h in boxes]).reshape(-1, 4).clip(0, 1)
    # between neighbouring edges of cells and boxes a rectangle lies in a box wholly or not at all
    xs = np.unique(np.concatenate([np.arange(width + 1) / width, corners[:, 0], corners[:, 2]]))
    ys = np.unique(np.concatenate([np.arange(height + 1) / height, corners[:, 1], corners[:, 3]]))
    middle_x, middle_y = (xs[1:] + xs[:-1]) / 2, (ys[1:] + ys[:-1]) / 2
    area = np.outer(np.diff(ys), np.diff(xs))
    grid_y, grid_x = np.meshgrid(middle_y, middle_x, indexing="ij")
    named = [Box("", left, top, right - left, bottom - top) for left, top, right, bottom in corners]
    area *= _inside(grid_x.ravel(), grid_y.ravel(), named).reshape(area.shape)
    cells = np.zeros((height, width))
    row, column = (middle_y * height).astype(int).clip(max=height - 1), (middle_x * width).astype(int).clip(max=width - 1)
    np.add.at(cells, np.ix_(row, column), area)
    return cells * height * width
