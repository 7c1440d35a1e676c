"""What one argument of the command line holds."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from condgen_cli.model import Item


def read(source: str) -> Iterator[Item]:
    """The word itself; for ``-`` a word from each line of stdin."""
    for text in (line.rstrip("\n") for line in sys.stdin) if source == "-" else [source]:
        yield Item(id=text, condition=text, source=text)
