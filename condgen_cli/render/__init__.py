"""Showing attention: in the terminal, as a figure, as a page, as data. Renderers choose by an axis's kind, never by a task.

Heavy libraries are imported when a function is called, so that ``condgen_cli.render.tables`` stays light.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from condgen_cli.generation import Generation

__all__ = ["attention_text", "entropy_table", "save_attention"]


def attention_text(generation: Generation, *, width: int, color: bool, encoding: str = "utf-8") -> str:
    """Every attention map of a generation for a terminal ``width`` columns wide (at least 20).

    Without colour the drawing is ASCII; only labels may hold other characters, and escapes for what ``encoding``, the
    terminal's, can't write. No line is wider than ``width``.
    """
    from condgen_cli.render.text import attention_text

    return attention_text(generation, width=width, color=color, encoding=encoding)


def entropy_table(generation: Generation, *, width: int, color: bool, strongest: int = 3, encoding: str = "utf-8") -> str:
    """One row a step: probability, entropy in bits, the strongest positions with their weights, the model's extras.

    Labels hold escapes for what ``encoding``, the terminal's, can't write.
    """
    from condgen_cli.render.entropy import entropy_table

    return entropy_table(generation, width=width, color=color, strongest=strongest, encoding=encoding)


def save_attention(path: str | Path, generation: Generation, title: str) -> None:
    """Write attention in the format that the suffix names: txt, png, html, json or npz.

    Raises:
        UsageError: if the suffix is none of these, ``path`` is a folder, or there is no attention to save.
        NotFoundError: if the folder is missing.
        CondgenError: if the file can't be written.
    """
    from condgen_cli.render.files import save_attention

    save_attention(path, generation, title)
