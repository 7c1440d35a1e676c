"""Tables: drawn with rules on a terminal, aligned plain text in a pipe."""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import StringIO

from condgen_cli.terminal.printable import printable

__all__ = ["Cell", "table"]

Cell = str | int | float | None

NARROWEST = 8
"""Minimum width of a column in characters, with its margins."""

_NUMBER = re.compile(r"[-+]?[\d.,]*\d[\d.,]*(e[-+]?\d+)?\s*(%|[kKMGT]?i?B|±.*|\[.*\])?")


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, title: str | None = None, color: bool, width: int) -> str:
    """A table without a final line break.

    Args:
        columns: headings.
        rows: rows with one cell per column; floats are printed with two decimals, None as empty.
        title: line above the table.
        color: whether to draw it for a terminal, wrapped to ``width``, or cell below cell if that is too narrow for columns;
            otherwise lines are never cut, so that a pipe loses nothing.
        width: width of the terminal in columns.

    Control characters in headings, cells and title are escaped.
    """
    columns, title = [printable(column) for column in columns], title and printable(title)
    cells = [[_text(cell) for cell in row] for row in rows]
    right = [_is_numeric([row[index] for row in cells]) for index in range(len(columns))]
    if color and width < NARROWEST * len(columns):
        return _stack_cells(columns, cells, title)
    if color:
        return _draw(columns, cells, right, title, width)
    return _plain(columns, cells, right, title)


def _stack_cells(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None) -> str:
    """A line for each cell that isn't empty, and an empty line between rows."""
    blocks = ["\n".join(f"{name}: {cell}" for name, cell in zip(columns, row, strict=True) if cell) for row in rows]
    return "\n\n".join([*([title] if title else []), *blocks])


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    text = f"{cell:.2f}" if isinstance(cell, float) else str(cell)
    return printable(" ".join(text.split()))


def _is_numeric(cells: Sequence[str]) -> bool:
    """Whether all cells are numbers, except for dashes and empty cells."""
    present = [cell for cell in cells if cell not in ("", "-", "–", "—")]
    return bool(present) and all(_NUMBER.fullmatch(cell) for cell in present)


def _plain(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool], title: str | None) -> str:
    from rich.cells import cell_len

    lines = [list(columns), *rows]
    widths = [max(cell_len(line[index]) for line in lines) for index in range(len(columns))]

    def align(cells: Sequence[str]) -> str:
        padding = [" " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)]
        texts = [space + cell if flush else cell + space for cell, space, flush in zip(cells, padding, right, strict=True)]
        return "  ".join(texts).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([*([title] if title else []), align(columns), rule, *map(align, rows)])


def _draw(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool], title: str | None, width: int) -> str:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, title=Text(title, "bold") if title else None, title_justify="left", pad_edge=False)
    for column, flush in zip(columns, right, strict=True):
        drawn.add_column(Text(column), justify="right" if flush else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*map(Text, row))
    return ansi(drawn, width)


def ansi(renderable: object, width: int) -> str:
    """A rich renderable as text with colour codes: 24-bit if the terminal supports it, else 256 colours."""
    import os

    from rich.console import Console

    true_color = os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit")
    console = Console(
        file=StringIO(),
        width=width,
        force_terminal=True,
        color_system="truecolor" if true_color else "256",
        no_color=False,
        legacy_windows=False,
        highlight=False,
        emoji=False,
        markup=False,
    )
    with console.capture() as capture:
        console.print(renderable, soft_wrap=False, no_wrap=False)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n")
