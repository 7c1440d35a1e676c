"""Output of the generate command: a text, a poem or a picture, and the steps that led to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from condgen_cli.item import Item

if TYPE_CHECKING:
    from condgen_cli.generation import Generation

__all__ = ["read", "steps_text", "text"]

_POEM = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff，。]+")
_WIDEST_BAR = 12
"""Longest bar of surprise, in bits."""


def read(source: str) -> Iterator[Item]:
    """A prompt: the beginning of a text or a poem."""
    yield Item(id=source, condition=source, source=source)


def text(generation: Generation, color: bool) -> str:
    """A text as it is, a poem with one couplet per line, a picture in blocks."""
    if generation.details.get("rows"):
        from condgen_generate.pictures import draw

        return draw(generation, color)
    output = str(generation.output)
    return re.sub("。(?=.)", "。\n", output) if _POEM.fullmatch(output) else output


def steps_text(generation: Generation, width: int, color: bool, encoding: str) -> str:
    """A table with a row for each step: token, probability, surprise in bits as a bar, most probable tokens. For a picture, its
    stages."""
    if generation.details.get("rows"):
        from condgen_generate.pictures import draw_stages

        return draw_stages(generation, width, color)
    from condgen_cli.render.pieces import label
    from condgen_cli.render.tables import Cell, table

    table_rows: list[list[Cell]] = []
    for number, step in enumerate(generation.details.get("steps", ()), 1):
        bits = float(step["bits"])
        bar = "#" * min(_WIDEST_BAR, round(bits)) + "+" * (round(bits) > _WIDEST_BAR)
        likeliest = ", ".join(f"{label(one['token'])} {100 * one['probability']:.1f}%" for one in step["likeliest"])
        table_rows.append([str(number), label(step["token"]), f"{step['probability']:.4f}", f"{bits:.2f}", bar, likeliest])
    if not table_rows:
        return ""
    rendered = table(["step", "token", "probability", "bits", "surprise", "likeliest"], table_rows, color=color, width=width)
    return rendered.encode(encoding, "backslashreplace").decode(encoding)
