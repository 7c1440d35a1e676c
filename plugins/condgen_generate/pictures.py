"""Rendering of written pictures: in the terminal, on a sheet, and as a film of the order in which pixels were written.

``inputs`` are the samples for each input. A generation has its picture in ``details``: ``rows`` of colour indices, the
``palette``, and ``given``, the rows with the given pixels alone, -1 elsewhere.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.text import Text

from condgen_cli.render.blocks import half_blocks, side_by_side
from condgen_cli.render.lines import Lines, shades
from condgen_cli.render.tables import ansi
from condgen_cli.render.template import fill_page, script_json

if TYPE_CHECKING:
    from condgen_cli.generation import Generation

__all__ = ["draw", "draw_stages", "film", "page", "sheet", "to_image"]

UNKNOWN = -1
GROUND = (96, 125, 171)
"""Colour of pixels not yet written, which few palettes have."""
WIDE = 1200
"""Approximate width of a sheet, in pixels."""
STAGES = 6
FRAMES = 60
"""Largest number of frames of a film, including its last, which is shown longer."""

Rows = NDArray[np.int64]


def to_image(rows: Rows, palette: Sequence[str]) -> Image.Image:
    """An image of colour indices (height, width); -1 is ``GROUND``."""
    colors = np.array([*(tuple(bytes.fromhex(color)) for color in palette), GROUND], np.uint8)
    return Image.fromarray(colors[rows])


def draw(generation: Generation, color: bool) -> str:
    """The picture for the terminal: coloured half blocks, or without colour two characters per pixel by brightness."""
    table = _rows(generation)
    return (
        _text(half_blocks(_make_even(to_image(table, generation.details["palette"])))) if color else _shade(generation, table)
    )


def draw_stages(generation: Generation, width: int, color: bool) -> str:
    """The picture after each sixth of its pixels."""
    whole = _rows(generation)
    tables = [_hide_after(whole, math.ceil(whole.size * stage / STAGES)) for stage in range(1, STAGES + 1)]
    if color:
        return _text(
            side_by_side([half_blocks(_make_even(to_image(one, generation.details["palette"]))) for one in tables], width)
        )
    return "\n\n".join(_shade(generation, one) for one in tables)


def sheet(inputs: Sequence[Sequence[Generation]]) -> bytes:
    """A PNG with a row for each input: its given part, then its samples. Without given parts, samples fill a square."""
    buffer = io.BytesIO()
    _arrange(inputs).save(buffer, "PNG")
    return buffer.getvalue()


def film(inputs: Sequence[Sequence[Generation]]) -> bytes:
    """A GIF of the sheet in which pixels appear in the order of writing."""
    places = _rows(inputs[0][0]).size
    step = math.ceil(places / (FRAMES - 1))
    first, *others = (_arrange(inputs, place) for place in [*range(0, places, step), places])
    buffer = io.BytesIO()
    durations = [60] * len(others) + [3000]
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=durations, loop=0)
    return buffer.getvalue()


def page(inputs: Sequence[Sequence[Generation]]) -> bytes:
    """The film as an HTML page with a slider and the probability of each pixel."""
    generations = [generation for samples in inputs for generation in samples]
    data = {
        "palette": list(generations[0].details["palette"]),
        "pictures": [
            {"rows": list(one.details["rows"]), "probabilities": np.exp(one.log_probs).round(3).tolist()} for one in generations
        ],
    }
    return fill_page("condgen_generate", "film.html", {"data": script_json(data)}).encode()


def _hide_after(rows: Rows, place: int) -> Rows:
    """The picture after ``place`` pixels were written."""
    written = rows.copy()
    written.reshape(-1)[place:] = UNKNOWN
    return written


def _make_even(image: Image.Image) -> Image.Image:
    """The image with an even number of rows, as half blocks need."""
    if image.height % 2 == 0:
        return image
    taller = Image.new("RGB", (image.width, image.height + 1), GROUND)
    taller.paste(image)
    return taller


def _shade(generation: Generation, rows: Rows) -> str:
    colors = np.array([tuple(bytes.fromhex(color)) for color in generation.details["palette"]])
    brightness = np.append(colors @ (0.299, 0.587, 0.114) / 255, 0.0)
    return "\n".join(line.rstrip() for line in shades(brightness[rows], 2))


def _text(lines: Lines) -> str:
    return ansi(Text("\n").join(lines), max(line.cell_len for line in lines))


def _rows(generation: Generation, name: str = "rows") -> Rows:
    return np.array(generation.details[name], np.int64)


def _arrange(inputs: Sequence[Sequence[Generation]], place: int | None = None) -> Image.Image:
    """The sheet after ``place`` pixels of each picture; None: all."""
    table = [_cells(samples, place) for samples in inputs]
    if not any(samples and samples[0].details.get("given") for samples in inputs):
        cells = [cell for row in table for cell in row]
        across = math.ceil(math.sqrt(len(cells)))
        table = [cells[start : start + across] for start in range(0, len(cells), across)]
    width, height = table[0][0].size
    columns = max(map(len, table))
    image = Image.new("RGB", (columns * (width + 1) + 1, len(table) * (height + 1) + 1), GROUND)
    for down, row in enumerate(table):
        for across, cell in enumerate(row):
            image.paste(cell, (1 + across * (width + 1), 1 + down * (height + 1)))
    scale = max(1, min(8, WIDE // image.width))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def _cells(samples: Sequence[Generation], place: int | None) -> list[Image.Image]:
    palette = samples[0].details["palette"]
    tables = [_rows(one) if place is None else _hide_after(_rows(one), place) for one in samples]
    given = [_rows(samples[0], "given")] if samples[0].details.get("given") else []
    return [to_image(table, palette) for table in [*given, *tables]]
