"""The splits that a training reads: not empty, and no more of them than is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from itertools import islice
from pathlib import Path

from condgen_cli.data.store import open_dataset
from condgen_cli.errors import UsageError
from condgen_cli.item import Item

__all__ = ["check_items", "read_split"]

_WITHOUT = {"train": "nothing to learn from", "dev": "nothing to choose the model by"}


def read_split(
    dataset: str, split: str, data_dir: Path | None, options: Mapping[str, str] | None = None, limit: int = 0
) -> list[Item]:
    """The items of a split, the first ``limit`` of them unless that is 0.

    Raises:
        UsageError: if there are none.
        CondgenError: as ``condgen_cli.data.store.open_dataset``, and whatever reading them raises.
    """
    items = list(islice(open_dataset(dataset, split, data_dir, options), limit or None))
    check_items(items, dataset, split)
    return items


def check_items(items: Sized, dataset: str, split: str) -> None:
    """Make sure that a split has items.

    Raises:
        UsageError: if it has none; it says what they are missed for.
    """
    if not len(items):
        lack = _WITHOUT.get(split, "nothing to do")
        raise UsageError(f"the split {split} of {dataset} has no items: there is {lack}", f"condgen data show {dataset}")
