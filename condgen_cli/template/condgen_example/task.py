"""What one text of the command line, or one line of --input, holds."""

from __future__ import annotations

from collections.abc import Iterator

from condgen_cli.model import Item


def read(source: str) -> Iterator[Item]:
    """The word itself."""
    yield Item(id=source, condition=source, source=source)
