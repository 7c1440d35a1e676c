"""Attention in the terminal: in shades of ASCII, or in coloured blocks.

Everything is drawn as lines of rich's ``Text``, which become plain or coloured text at the end.
"""

from __future__ import annotations

import textwrap

import numpy as np
from PIL import Image
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from condgen_cli.generation import Axis, Generation
from condgen_cli.render.alignment import alignment
from condgen_cli.render.blocks import GAP, HALF, LEVELS, caption, half_blocks, side_by_side
from condgen_cli.render.frames import film, frame_lines
from condgen_cli.render.light import light_up, picture
from condgen_cli.render.lines import SHADES, Lines, fit, heat, shades, stack_letters, weight_text, wrap
from condgen_cli.render.panels import Panel, is_explained, panels, sum_bins
from condgen_cli.render.pieces import CONTINUES, label
from condgen_cli.render.sound import Track, track
from condgen_cli.render.tables import ansi
from condgen_cli.render.tape import is_tape, tape_lines
from condgen_cli.render.ticks import ticks

__all__ = ["attention_text"]

_PICTURE_COLUMNS = 25
"""Width in columns of a square picture; other pictures have the same area."""
_TALLEST = 40
_FEW_STEPS = 3
_MOST_BARS = 60
_NARROWEST_HOP, _BROADEST_HOP = 8, 20
"""Width in columns of a hop's percentage and bar."""
_MANY_STEPS = 24
"""From this number of steps on, seconds are written above a matrix in time as well as below it."""


def attention_text(generation: Generation, *, width: int, color: bool, encoding: str = "utf-8") -> str:
    """See ``condgen_cli.render.attention_text``."""
    width = max(width, 20)
    drawn = panels(generation, encoding)
    blocks = color and _has(encoding, HALF)
    levels = LEVELS if color and _has(encoding, LEVELS) else SHADES
    if not drawn:
        return "\n".join(textwrap.wrap("no attention: this model has no map to show", width))
    lines: Lines = []
    for panel in drawn:
        lines += [Text("")] * bool(lines) + wrap(panel.title, width, "bold")
        if panel.is_grid:
            lines += _pictures(panel, generation, width) if blocks else _grids(panel, generation, width)
        elif clip := film(panel, generation):
            lines += frame_lines(panel, clip, width, levels if levels != SHADES else "", blocks)
        elif is_tape(panel, generation):
            lines += tape_lines(panel, width, color, levels)
        elif panel.is_hops and len(panel.steps) <= width // _NARROWEST_HOP - 1:
            lines += _hops(panel, width)
        elif len(panel.steps) <= _FEW_STEPS and len(panel.axes[0]) <= _MOST_BARS and panel.axes[0].kind != "time":
            lines += _bars(panel, width)
        else:
            aligned = alignment(panel, width, color) if panel.axes[0].kind == "tokens" else None
            lines += aligned or _matrix(panel, width, color, track(panel, generation), levels)
    if color:
        return ansi(Text("\n").join(lines), width)
    return "\n".join(line.plain.rstrip() for line in lines)


def _has(encoding: str, letters: str) -> bool:
    return letters.encode(encoding, "replace").decode(encoding) == letters


# Grids


def _grids(panel: Panel, generation: Generation, width: int) -> Lines:
    """A framed grid for each step, with the picture's aspect ratio."""
    rows, columns = (len(axis) for axis in panel.axes)
    across, down = _cell(generation, rows, columns)
    across = max(1, min(across, (width - 2) // columns))
    limit = (width - 2) // across
    pooled, column_bin = sum_bins(panel.weights, limit)
    pooled, row_bin = sum_bins(pooled, max(1, _TALLEST // down), axis=1)
    blocks = []
    for word, weights in zip(panel.steps, pooled, strict=True):
        peak = weights.max()
        relative = weights / peak if peak > 0 else weights
        body = [line for line in shades(relative, across) for _ in range(down)]
        rule = "+" + "-" * len(body[0]) + "+"
        frame = [rule, *("|" + line + "|" for line in body), rule]
        blocks.append([caption(word, peak, max(len(rule), 12)), *map(Text, frame)])
    legend = f'Shades "{SHADES}" go from 0 to the largest weight, written beside each {_step_name(generation)}.'
    if column_bin > 1 or row_bin > 1:
        legend += f" Each cell adds up {row_bin} x {column_bin} positions."
    return [*wrap(legend, width, "dim"), Text(""), *side_by_side(blocks, width)]


def _cell(generation: Generation, rows: int, columns: int) -> tuple[int, int]:
    """Width in characters and height in lines of a cell; a character is taken to be twice as high as wide."""
    proportion = 1.0
    if isinstance(generation.condition, Image.Image) and min(generation.condition.size) > 0:
        wide, high = generation.condition.size
        proportion = (wide / columns) / (high / rows)
    if proportion >= 0.5:
        return min(round(2 * proportion), 8), 1
    return 1, min(round(0.5 / proportion), 4)


def _pictures(panel: Panel, generation: Generation, width: int) -> Lines:
    """The picture, and for each step the picture lit by the weights, in half blocks."""
    grid = panel.weights.shape[1], panel.weights.shape[2]
    image = picture(generation.condition, grid)
    proportion = image.width / image.height
    across = _picture_columns(proportion, width)
    down = 2 * max(1, min(round(across / proportion / 2), _TALLEST // 2))
    image = image.resize((across, down), Image.Resampling.BOX)
    blocks = [[fit("the picture", max(across, 12), "dim"), *half_blocks(image)]]
    for word, weights, peak in zip(panel.steps, panel.weights, panel.peaks, strict=True):
        blocks.append([caption(word, peak, max(image.width, 12)), *half_blocks(light_up(image, weights))])
    where = "where the map has its weight" if is_explained(generation) else "where the model attended"
    legend = f"Lit {where}; the largest weight is written beside each {_step_name(generation)}."
    return [*wrap(legend, width, "dim"), Text(""), *side_by_side(blocks, width)]


def _picture_columns(proportion: float, width: int) -> int:
    """Width in columns of a picture: about the same area for every aspect ratio, a little more if that fills the line."""
    usual = max(1, min(round(_PICTURE_COLUMNS * proportion**0.5), 2 * _PICTURE_COLUMNS, width))
    side_by_side = max(1, (width + len(GAP)) // (usual + len(GAP)))
    return min((width + len(GAP)) // side_by_side - len(GAP), usual + usual // 2)


# One-dimensional positions


def _bars(panel: Panel, width: int) -> Lines:
    """For each step, a bar for each position, proportional to its share of the largest weight."""
    names = [_position(panel.axes[0], index) for index in range(len(panel.axes[0]))]
    name_width = min(max(map(cell_len, names)), max(6, (width - 8) // 2))
    bar_width = min(40, width - name_width - 8)
    lines: Lines = []
    for word, weights, relative in zip(panel.steps, panel.weights, panel.relative(), strict=True):
        lines += [Text("")] * bool(lines) + [fit(word, min(cell_len(word), width), "bold")]
        for name, weight, share in zip(names, weights, relative, strict=True):
            bar = "#" * int(share * bar_width + 0.5)
            lines.append(fit(name, name_width).append(" " + weight_text(weight) + " ", "dim").append(bar, "yellow"))
    return lines


def _hops(panel: Panel, width: int) -> Lines:
    """Sentences down, hops across: a percentage, and a bar proportional to the share of the hop's largest weight.

    Of more than ``_MOST_BARS`` sentences, only those with the largest weights in any hop are shown.
    """
    axis, hops = panel.axes[0], len(panel.steps)
    strongest = np.argsort(-panel.weights.max(0), kind="stable")[:_MOST_BARS]
    shown = sorted(strongest.tolist())
    numbers = len(str(len(axis)))
    longest = max(cell_len(label(axis.labels[position])) for position in shown)
    name_width = max(_NARROWEST_HOP, min(longest, width - numbers - 2 - hops * (_NARROWEST_HOP + 4)))
    hop_width = min(_BROADEST_HOP, (width - numbers - 2 - name_width) // hops - 2)
    left_out = f"The {len(shown)} of {len(axis)} sentences with the highest attention." if len(shown) < len(axis) else ""
    lines = wrap(left_out, width, "dim")
    heading = Text(" " * (numbers + 2)).append_text(fit(axis.name, name_width, "dim"))
    for step in panel.steps:
        heading.append("  ").append_text(fit(f"{panel.step_axis[0]} {step}", hop_width, "bold"))
    lines.append(heading)
    relative = panel.relative()
    for position in shown:
        line = Text(str(position + 1).rjust(numbers), "dim").append("  ")
        line.append_text(fit(label(axis.labels[position]), name_width))
        for hop in range(hops):
            bar = "#" * int(relative[hop, position] * (hop_width - 5) + 0.5)
            line.append("  ").append(f"{100 * panel.weights[hop, position]:3.0f}% ", "dim")
            line.append_text(fit(bar, hop_width - 5, "yellow"))
        lines.append(line)
    return lines


def _matrix(panel: Panel, width: int, color: bool, sound: Track | None, levels: str) -> Lines:
    """A matrix with steps down and positions across, each step scaled to its largest weight, which ends its line; above it, the
    loudness of the sound.
    """
    axis = panel.axes[0]
    name_width = min(max(map(cell_len, panel.steps)), max(6, min(16, width // 3)))
    room = width - name_width - 8
    across = 2 if len(axis) * 2 <= room else 1
    pooled, size = sum_bins(panel.weights, room // across)
    peaks = pooled.max(-1)
    relative = np.divide(pooled, peaks[:, None], out=np.zeros_like(pooled), where=peaks[:, None] > 0)
    indent = Text(" " * (name_width + 1))
    marked = axis.kind == "time" or size > 1
    lines = _legend(panel, size, width, color, sound)
    seconds = indent + Text(_tick_line(axis, size, across, pooled.shape[1] * across), "dim") if marked else Text("")
    if sound:
        lines += [seconds] * (len(panel.steps) >= _MANY_STEPS)
        lines.append(indent + Text(shades(sound.loudness(size)[None], across, levels)[0], "cyan"))
    if not marked:
        lines += [indent + line for line in _headings(axis, across)]
    for word, row, peak in zip(panel.steps, relative, peaks, strict=True):
        line = Text("").append_text(fit(word, name_width, "bold")).append("|", "dim")
        line.append_text(heat(row, [across] * len(row)) if color else Text(shades(row[None], across)[0]))
        lines.append(line.append("| ", "dim").append(weight_text(peak), "dim"))
    return [*lines, seconds] if marked else lines


def _legend(panel: Panel, size: int, width: int, color: bool, sound: Track | None) -> Lines:
    axis = panel.axes[0]
    scale = "Bright is" if color else f'Shades "{SHADES}" go from 0 to'
    text = f"{scale} the largest weight of a line, written at its end. Across: {axis.name}."
    seconds = f"{sound.column_edges(size)[1]:.3g} s" if sound else ""
    if size > 1:
        text += f" Each column adds up {size} positions{seconds and ', '}{seconds}."
    elif sound:
        text += f" A column lasts {seconds}."
    if sound:
        text += " Above: how loud the sound is."
        text += f' "{CONTINUES}" goes on with the word before.' * panel.has_continuations
    return [*wrap(text, width, "dim"), Text("")]


def _headings(axis: Axis, across: int) -> Lines:
    """Labels above their columns, on one line if they fit, else written downwards."""
    names = [label(value) for value in axis.labels]
    if all(cell_len(name) <= across for name in names):
        return [Text("".join(set_cell_size(name, across) for name in names), "bold")]
    return stack_letters(names, across)


def _tick_line(axis: Axis, size: int, across: int, width: int) -> str:
    """Labels that start in the column of their position, as many as fit without touching."""
    line = ""
    for position, name in ticks(axis, width // 6):
        column = position // size * across
        if (
            column < cell_len(line) + bool(line) or column + cell_len(name) > width + 7
        ):  # what stands beside a line that is as wide
            continue
        line += " " * (column - cell_len(line)) + name
    return line


# Shared


def _position(axis: Axis, index: int) -> str:
    value = axis.labels[index]
    return label(value) + ("s" if axis.kind == "time" else "")


def _step_name(generation: Generation) -> str:
    return next(iter(generation.attention.values())).steps.name
