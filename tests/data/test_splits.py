"""Splits by a hash and by files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from condgen_cli.data.splits import hash_text, split_by_hash, split_file
from condgen_cli.errors import UsageError


def test_a_hash_is_the_same_for_ever() -> None:
    assert hash_text("a") == 0xCA978112CA1BBDCA
    assert hash_text("") == 0xE3B0C44298FC1C14
    assert hash_text("\ud800") == hash_text("\ud800")  # a lone surrogate, as JSON may hold


def test_parts_become_splits() -> None:
    names = [f"photo {number}.jpg" for number in range(2000)]
    by_part = {hash_text(name) % 20: split_by_hash(name, 20, dev=[17], test=[18, 19]) for name in names}
    assert by_part == dict.fromkeys(range(17), "train") | {17: "dev", 18: "test", 19: "test"}
    counts = Counter(split_by_hash(name, 10, dev=[8], test=[9]) for name in names)
    assert counts["train"] > 1500
    assert min(counts["dev"], counts["test"]) > 150


def test_the_file_of_a_split() -> None:
    root = Path("root")
    assert split_file(root, "{split}/a.{split}.txt", "dev") == root / "dev/a.dev.txt"
    assert split_file(root, "a.txt", "test") == root / "a.txt"
    with pytest.raises(UsageError, match=r"a\.txt is of the split test alone, not of train") as caught:
        split_file(root, "a.txt", "train")
    assert "{split}" in str(caught.value.hint)
