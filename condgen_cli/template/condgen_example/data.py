"""The data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from string import ascii_lowercase

from condgen_cli.model import Item

COUNTS = {"train": 4000, "dev": 100, "test": 100}


def words(root: Path, split: str) -> Iterator[Item]:
    """Generate the items (``generated`` in the spec); a real data set would read them lazily from ``root``, the folder of
    --data-dir."""
    random = Random(split)
    for _ in range(COUNTS[split]):
        word = "".join(random.choices(ascii_lowercase, k=random.randint(2, 8)))
        yield Item(id=word, condition=word, references=(word.upper(),), source=word)
