"""Form and rhyme of poems."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from condgen_cli.metrics import Metric
from condgen_generate.verse import form_of, lines_of

if TYPE_CHECKING:
    from condgen_cli.generation import Generation
    from condgen_cli.item import Item

__all__ = ["Form", "Rhyme", "rhymes"]

_CLASSES = (
    "a ia ua",
    "o uo e",
    "ie üe ê",
    "ai uai",
    "ei uei",
    "ao iao",
    "ou iou",
    "an ian uan üan",
    "en in uen ün",
    "ang iang uang",
    "eng ing ueng ong iong",
    "i ü er",
    "-i",
    "u",
)
"""Rhyming finals in ``pypinyin``'s strict notation: the thirteen rhymes of Mandarin verse, with 支 apart from 齐."""

_CLASS_OF = {final: number for number, finals in enumerate(_CLASSES) for final in finals.split()}


class Form(Metric):
    """Poems exactly in one of the regular forms, punctuation included, percent. Statistics: 1 or 0."""

    keys = ("form",)
    signature = "form:5x4,7x4,5x8,7x8"
    item_key = "form"

    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        exact = [form_of(str(generation.output)) is not None for generation in generations]
        return np.array(exact, np.float64).reshape(-1, 1)

    def score(self, totals: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
        return {"form": 100 * totals[..., 0] / n}


class Rhyme(Metric):
    """Poems whose even lines all rhyme, percent of those in a regular form; by the Mandarin finals of their last characters.

    A character with several readings rhymes with any of them. Many rhymes of Middle Chinese, in which Tang poets wrote, don't
    rhyme in Mandarin, so real poems score below 100. Statistics: whether a poem rhymes, and whether it is in a form.
    """

    keys = ("rhyme",)
    signature = "rhyme:mandarin-finals"
    item_key = "rhyme"

    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        rows = []
        for generation in generations:
            poem = str(generation.output)
            regular = form_of(poem) is not None
            rows.append((float(regular and rhymes(poem)), float(regular)))
        return np.array(rows, np.float64).reshape(-1, 2)

    def score(self, totals: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
        rhyming, regular = totals[..., 0], totals[..., 1]
        share = np.divide(rhyming, regular, out=np.full_like(rhyming, np.nan), where=regular > 0)
        return {"rhyme": 100 * share}

    def remarks(self, items: Sequence[Item], totals: NDArray[np.float64]) -> dict[str, str]:
        return {} if totals[1] else {"rhyme": "no poem is in a regular form"}


def rhymes(poem: str) -> bool:
    """Whether the last characters of all even lines share a rhyme."""
    common = frozenset.intersection(*(_finals(line[-1]) for line in lines_of(poem)[1::2]))
    return bool(common)


@cache
def _finals(character: str) -> frozenset[int]:
    """Rhyme classes of a character's readings."""
    from pypinyin import Style, pinyin

    initials, finals = (
        pinyin(character, style=style, heteronym=True, strict=True, v_to_u=True)[0] for style in (Style.INITIALS, Style.FINALS)
    )
    sibilant = initials[0] in ("z", "c", "s", "zh", "ch", "sh", "r")
    return frozenset(_CLASS_OF[name] for final in finals if (name := "-i" if final == "i" and sibilant else final) in _CLASS_OF)
