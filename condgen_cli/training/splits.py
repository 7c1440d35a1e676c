"""Reading the splits that a training run uses."""

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
    """Read a split.

    Args:
        dataset: name of the data set.
        split: name of the split.
        data_dir: folder of the data set; None: the default places.
        options: options of the data set.
        limit: number of items to read, from the beginning; 0: all.

    Raises:
        UsageError: if there are no items.
        CondgenError: as ``condgen_cli.data.store.open_dataset``, or if an item can't be read.
    """
    items = list(islice(open_dataset(dataset, split, data_dir, options), limit or None))
    check_items(items, dataset, split)
    return items


def check_items(items: Sized, dataset: str, split: str) -> None:
    """Make sure that a split has items.

    Raises:
        UsageError: if it has none.
    """
    if not len(items):
        lack = _WITHOUT.get(split, "nothing to do")
        raise UsageError(f"the split {split} of {dataset} has no items: there is {lack}", f"condgen data show {dataset}")
