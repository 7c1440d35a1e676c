"""The data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from condgen_cli.model import Item

WORDS = ("attention", "decoder", "encoder", "memory", "query", "step")


def words(root: Path, split: str) -> Iterator[Item]:
    """Made as it is opened (``generated``); a real one would read lazily from ``root``, the folder that --data-dir names."""
    for word in WORDS:
        yield Item(id=word, condition=word, references=(word.upper(),), source=word)
