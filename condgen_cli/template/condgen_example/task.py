"""Reads the items of one text of the command line, or of one line of --input."""

from __future__ import annotations

from collections.abc import Iterator

from condgen_cli.model import Item


def read(source: str) -> Iterator[Item]:
    """One item: the word itself."""
    yield Item(id=source, condition=source, source=source)
