"""Whether the things that captions name are there, by what people wrote of the same photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from condgen_caption.nouns import find_mentions
from condgen_cli.data.text import caption_tokens
from condgen_cli.metrics import Metric

if TYPE_CHECKING:
    from condgen_cli.generation import Generation
    from condgen_cli.item import Item

__all__ = ["Rightness", "judge_things"]


class Rightness(Metric):
    """How often a kind of thing that a caption names is named by a reference too: the complement of CHAIRᵢ without boxes
    (Rohrbach et al. 2018, "Object hallucination in image captioning", section 2).

    * ``things``: of the kinds of things that captions name, the share that a reference of the same photo names, percent. The
      kinds are COCO's 80 classes; a synonym counts, as does each kind once in a caption.
    * ``things_named``: kinds of things that a caption names, on average.

    Statistics: number of right and of named kinds, number of captions.
    """

    keys = ("things", "things_named")
    signature = "nouns:coco-80|truth:references"
    item_key = "things"

    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        judged = [judge_things(one.output, item.references) for item, one in zip(items, generations, strict=True)]
        return np.array([[sum(right), len(right), 1] for right in judged], np.float64).reshape(len(judged), 3)

    def score(self, totals: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
        right, named, captions = totals[..., 0], totals[..., 1], totals[..., 2]
        share = 100 * np.divide(right, named, out=np.full_like(right, np.nan), where=named > 0)
        return {"things": share, "things_named": np.divide(named, captions, out=np.zeros_like(named), where=captions > 0)}

    def remarks(self, items: Sequence[Item], totals: NDArray[np.float64]) -> dict[str, str]:
        return {} if totals[1] else {"things": "no caption names a thing of COCO's classes"}


def judge_things(caption: str, references: Sequence[str]) -> list[bool]:
    """For each kind of thing that a caption names, whether a reference names it too."""
    there = frozenset[str]().union(*(one.classes for text in references for one in find_mentions(caption_tokens(text))))
    named = {one.classes for one in find_mentions(caption_tokens(caption))}
    return [bool(classes & there) for classes in named]
