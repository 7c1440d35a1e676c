"""Rendering attention: in the terminal, as a figure, as a page, as data. The kind of the axes decides how, never the task.

Heavy libraries are imported when a function is called, so that ``condgen_cli.render.tables`` stays light.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from condgen_cli.generation import Generation

__all__ = ["attention_text", "entropy_table", "save_attention"]


def attention_text(generation: Generation, *, width: int, color: bool, encoding: str = "utf-8") -> str:
    """All attention maps of a generation as text for a terminal of ``width`` columns (at least 20).

    Without colour the drawing is ASCII, except for labels; characters of labels that ``encoding``, the terminal's, can't
    encode are escaped. No line is wider than ``width``.
    """
    from condgen_cli.render.text import attention_text

    return attention_text(generation, width=width, color=color, encoding=encoding)


def entropy_table(generation: Generation, *, width: int, color: bool, strongest: int = 3, encoding: str = "utf-8") -> str:
    """A table with a row per step: probability, entropy in bits, the model's extras, the strongest positions and their weights.

    Characters of labels that ``encoding``, the terminal's, can't encode are escaped.
    """
    from condgen_cli.render.entropy import entropy_table

    return entropy_table(generation, width=width, color=color, strongest=strongest, encoding=encoding)


def save_attention(path: str | Path, generation: Generation, title: str) -> None:
    """Write attention to a file, in the format of its suffix: txt, png, html, json or npz.

    Raises:
        UsageError: if the suffix is another, ``path`` is a folder, or there is no attention to save.
        NotFoundError: if the folder doesn't exist.
        CondgenError: if the file can't be written.
    """
    from condgen_cli.render.files import save_attention

    save_attention(path, generation, title)
