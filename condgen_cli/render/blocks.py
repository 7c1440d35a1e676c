"""Blocks of lines side by side in the terminal: each a caption with a picture or a chart below it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from rich.text import Text

from condgen_cli.render.lines import Lines, fit, weight_text

__all__ = ["GAP", "HALF", "LEVELS", "caption", "half_blocks", "side_by_side"]

GAP = "  "
HALF = "▀"
LEVELS = " ▁▂▃▄▅▆▇█"


def half_blocks(image: Image.Image) -> Lines:
    """A picture with two pixels per character: the upper is the colour of a half block, the lower its background."""
    pixels = np.asarray(image)
    lines = []
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        line = Text()
        for above, below in zip(upper, lower, strict=True):
            line.append(HALF, f"rgb({above[0]},{above[1]},{above[2]}) on rgb({below[0]},{below[1]},{below[2]})")
        lines.append(line)
    return lines


def side_by_side(blocks: Sequence[Lines], width: int) -> Lines:
    """Blocks of equal height in as many columns as fit, with an empty line between rows of blocks."""
    column = max(line.cell_len for block in blocks for line in block)
    across = max(1, (width + len(GAP)) // (column + len(GAP)))
    lines: Lines = []
    for start in range(0, len(blocks), across):
        row = blocks[start : start + across]
        lines += [Text("")] * bool(lines)
        for parts in zip(*row, strict=True):
            line = Text()
            for index, part in enumerate(parts):
                line.append_text(part)
                if index < len(parts) - 1:
                    line.append(" " * (column - part.cell_len) + GAP)
            lines.append(line)
    return lines


def caption(word: str, peak: float, width: int) -> Text:
    weight = weight_text(peak)
    return fit(word, width - len(weight) - 1, "bold").append(" " + weight, "dim")
