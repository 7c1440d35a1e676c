"""Splits of a data set: their names, assigning items to them by a hash, and the files that they are in."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

from condgen_cli.errors import UsageError

__all__ = ["SPLITS", "hash_text", "split_by_hash", "split_file"]

SPLITS = ("train", "dev", "test")


def hash_text(text: str) -> int:
    """The first 64 bits of the SHA-256 of a text in UTF-8, the same on every machine and in every version."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def split_by_hash(key: str, parts: int, dev: Collection[int], test: Collection[int]) -> str:
    """Assign an item of a data set without splits to one; adding items to the data set doesn't change it.

    Args:
        key: text that identifies the item, such as its path or its source sentence.
        parts: number of equally likely parts that all items are divided into.
        dev, test: numbers, from 0, of the parts that are these splits; all others are ``train``.
    """
    part = hash_text(key) % parts
    return "dev" if part in dev else "test" if part in test else "train"


def split_file(root: Path, name: str, split: str) -> Path:
    """Path of the file that holds a split, which may not exist.

    Args:
        root: folder that the name is relative to.
        name: file name, in which ``{split}`` stands for the split. A file without it is all of the split ``test``.
        split: one of ``SPLITS``.
    Raises:
        UsageError: if the name has no ``{split}`` and another split than ``test`` is wanted.
    """
    if "{split}" not in name and split != "test":
        raise UsageError(f"{name} is of the split test alone, not of {split}", "write {split} where its name has the split")
    return root / name.replace("{split}", split)
