"""Attention over tokens in the terminal: an alignment matrix with a column for each source token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from condgen_cli.render.lines import SHADES, Floats, Lines, fit, heat, letters, shades, stack_letters, weight_text, wrap
from condgen_cli.render.panels import Panel
from condgen_cli.render.pieces import CONTINUES

__all__ = ["alignment"]

_WIDEST_COLUMN = 13
_MOST_BLOCKS = 8
_NARROWEST_NAME = 4
"""Minimum width in columns for the name of the strongest token at the end of a line."""


@dataclass(frozen=True)
class _Layout:
    """The layout of the matrix.

    Args:
        left: width of the steps' names, in terminal columns.
        widths: width of each position, in terminal columns with a space after it.
        blocks: ranges (start, end) of positions, each drawn side by side.
        upright: whether names are on one line above their columns; otherwise they are written downwards.
    """

    left: int
    widths: tuple[int, ...]
    blocks: tuple[tuple[int, int], ...]
    upright: bool

    def width(self, block: tuple[int, int]) -> int:
        return sum(self.widths[slice(*block)])


def alignment(panel: Panel, width: int, color: bool) -> Lines | None:
    """A matrix with steps down and positions across, each step scaled to its largest weight, which ends its line.

    Columns that don't fit go to further blocks below, as in a wide table. None if more than eight blocks were needed.
    """
    layout = _layout(panel, width)
    if len(layout.blocks) > _MOST_BLOCKS:
        return None
    spare = width - layout.left - 9 - max(map(layout.width, layout.blocks))
    rows = _rows(panel, layout, spare if spare >= _NARROWEST_NAME else 0, color)
    lines = _legend(panel, width, color)
    for block in layout.blocks:
        lines.append(Text(""))
        if len(layout.blocks) > 1:
            lines += wrap(f"{panel.axes[0].name} {block[0] + 1} to {block[1]} of {len(layout.widths)}", width, "dim")
        lines += _headings(panel, layout, block)
        lines += [row.line(block) for row in rows]
    return lines


def _layout(panel: Panel, width: int) -> _Layout:
    """The layout with names on one line, if it has no more blocks than that with names written downwards."""
    names = [str(name) for name in panel.axes[0].labels]
    left = min(max(map(cell_len, panel.steps)), max(6, min(16, width // 3)))
    room = max(3, width - left - 8)
    broad = tuple(min(max(2, cell_len(name)) + 1, _WIDEST_COLUMN, room) for name in names)
    widest_letter = max(cell_len(letter) for name in names for letter in letters(name, 2))
    narrow = (1 + max(1, widest_letter),) * len(names)
    upright, downwards = _cut_blocks(broad, room), _cut_blocks(narrow, room)
    if len(upright) <= len(downwards):
        return _Layout(left, broad, upright, True)
    return _Layout(left, narrow, downwards, False)


def _cut_blocks(widths: Sequence[int], room: int) -> tuple[tuple[int, int], ...]:
    """The smallest number of blocks that fit into ``room`` columns, of about equal width."""
    count = len(_fill_blocks(widths, room))
    limit = next(limit for limit in range(-(-sum(widths) // count), room + 1) if len(_fill_blocks(widths, limit)) <= count)
    return _fill_blocks(widths, limit)


def _fill_blocks(widths: Sequence[int], limit: int) -> tuple[tuple[int, int], ...]:
    blocks: list[tuple[int, int]] = []
    start = used = 0
    for index, width in enumerate(widths):
        if used + width > limit and index > start:
            blocks.append((start, index))
            start, used = index, 0
        used += width
    return (*blocks, (start, len(widths)))


def _headings(panel: Panel, layout: _Layout, block: tuple[int, int]) -> Lines:
    names = [str(name) for name in panel.axes[0].labels[slice(*block)]]
    widths = layout.widths[slice(*block)]
    if layout.upright:
        lines = [Text("").join([fit(name, wide - 1, "bold") + Text(" ") for name, wide in zip(names, widths, strict=True)])]
    else:
        lines = stack_letters(names, widths[0])
    return [Text(" " * (layout.left + 1)) + line for line in lines]


@dataclass(frozen=True)
class _Row:
    """A step: its name, its cells as one text, the start of each position's cell, and the end of the line."""

    name: Text
    cells: Text
    starts: tuple[int, ...]
    strongest: int
    end: Text

    def line(self, block: tuple[int, int]) -> Text:
        """The line of the step in a block; its end is only in the block with the strongest position."""
        first, last = block
        cells = self.cells[self.starts[first] : self.starts[last]]
        line = Text("").append_text(self.name).append("|", "dim").append_text(cells).append("|", "dim")
        return line.append_text(self.end) if first <= self.strongest < last else line


def _rows(panel: Panel, layout: _Layout, room_for_name: int, color: bool) -> list[_Row]:
    starts = tuple(accumulate(layout.widths, initial=0))
    weights = [weight_text(float(peak)) for peak in panel.peaks]
    longest = max(map(len, weights))
    rows = []
    for step, relative in enumerate(panel.relative()):
        strongest = int(panel.weights[step].argmax())
        end = Text("").append(" " + weights[step], "dim")
        if room_for_name and panel.peaks[step] > 0:
            source = str(panel.axes[0].labels[strongest])
            end.append(" " * (longest - len(weights[step]) + 1))
            end.append_text(fit(source, min(cell_len(source), room_for_name)))
        name = fit(panel.steps[step], layout.left, "bold")
        rows.append(_Row(name, _cells(relative, layout.widths, color), starts, strongest, end))
    return rows


def _cells(relative: Floats, widths: Sequence[int], color: bool) -> Text:
    if color:
        return heat(relative, widths)
    marks = shades(relative[np.newaxis])[0]
    return Text("".join(_draw_mark(mark, wide) for mark, wide in zip(marks, widths, strict=True)))


def _draw_mark(mark: str, wide: int) -> str:
    return mark * wide if wide < 3 else mark * (wide - 1) + " "


def _legend(panel: Panel, width: int, color: bool) -> Lines:
    scale = "Bright is" if color else f'Shades "{SHADES}" go from 0 to'
    text = f"{scale} the largest weight of a line, written at its end. Across: {panel.axes[0].name}."
    if panel.has_continuations:
        text += f' "{CONTINUES}" goes on with the word before.'
    return wrap(text, width, "dim")
