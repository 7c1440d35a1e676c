"""What the caption command reads: photos."""

from __future__ import annotations

from collections.abc import Iterator

from condgen_cli.item import Item
from condgen_cli.sources import Source

__all__ = ["read"]


def read(source: str) -> Iterator[Item]:
    """The photo at a path, at a URL or on standard input (``-``), as bytes that are read when the photo is decoded."""
    yield Item(id=source, condition=Source(source), source=source)
