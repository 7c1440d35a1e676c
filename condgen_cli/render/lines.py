"""Lines for drawings in the terminal, as rich's ``Text``, which knows its width in columns."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len, set_cell_size
from rich.text import Text

__all__ = [
    "SHADES",
    "Floats",
    "Lines",
    "fit",
    "heat",
    "heat_color",
    "letters",
    "shades",
    "stack_letters",
    "weight_text",
    "wrap",
]

Floats = NDArray[np.float64]
Lines = list[Text]

SHADES = " .:-=+*#%@"
_LONGEST_HEADING = 12
_HEAT_LEVELS = 64
_HEAT = ((16, 16, 40), (92, 28, 110), (214, 72, 70), (252, 166, 60), (252, 252, 190))


def shades(relative: Floats, repeat: int = 1, scale: str = SHADES) -> list[str]:
    """Rows of values from 0 to 1 as rows of characters from ``scale``, each repeated ``repeat`` times."""
    levels = np.floor(relative * (len(scale) - 1) + 0.5).astype(int).clip(0, len(scale) - 1)
    return ["".join(scale[level] * repeat for level in row) for row in levels]


def heat(relative: Floats, widths: Sequence[int]) -> Text:
    """Values from 0 to 1 as coloured blocks of the given widths in columns; neighbours of equal colour are merged."""
    line = Text()
    cells = zip(np.rint(relative * (_HEAT_LEVELS - 1)).astype(int).tolist(), widths, strict=True)
    for level, group in groupby(cells, key=itemgetter(0)):
        red, green, blue = heat_color(level / (_HEAT_LEVELS - 1))
        line.append(" " * sum(width for _, width in group), f"on rgb({red},{green},{blue})")
    return line


@lru_cache(maxsize=256)
def heat_color(value: float) -> tuple[int, int, int]:
    """The RGB colour of a value from 0 to 1: near black, violet, red, orange, pale yellow."""
    stops = np.linspace(0, 1, len(_HEAT))
    red, green, blue = (round(float(np.interp(value, stops, channel))) for channel in zip(*_HEAT, strict=True))
    return red, green, blue


def weight_text(weight: float) -> str:
    """A weight in at most five characters."""
    return f"{weight:.2f}" if weight >= 0.1 or weight == 0 else f"{weight:.3f}"


def fit(text: str, width: int, style: str = "") -> Text:
    """Text of exactly ``width`` columns: padded, or cut with two dots at the end."""
    if cell_len(text) > width > 4:
        text = set_cell_size(text, width - 2) + ".."
    return Text(set_cell_size(text, width), style)


def wrap(text: str, width: int, style: str) -> Lines:
    return [Text(line, style) for line in textwrap.wrap(text, width)] if text else []


def stack_letters(names: Sequence[str], across: int) -> Lines:
    """Names written downwards above columns of width ``across``, aligned at the last line."""
    columns = [[set_cell_size(letter, across) for letter in letters(_shorten(name), across)] for name in names]
    height = max(map(len, columns))
    padded = [[" " * across] * (height - len(column)) + column for column in columns]
    return [Text("".join(cells), "bold") for cells in zip(*padded, strict=True)]


def letters(name: str, widest: int) -> list[str]:
    """The letters of a name with their combining marks; those wider than ``widest`` columns become question marks."""
    clusters: list[str] = []
    for letter in name:
        if cell_len(letter) == 0 and clusters:
            clusters[-1] += letter
        else:
            clusters.append(letter)
    return [cluster if cell_len(cluster) <= widest else "?" for cluster in clusters]


def _shorten(name: str) -> str:
    return name if len(name) <= _LONGEST_HEADING else name[: _LONGEST_HEADING - 2] + ".."
