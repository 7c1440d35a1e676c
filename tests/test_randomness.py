"""Streams of random numbers: a function of seed and content, the same wherever an input stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from condgen_cli.arrays import arrays_of
from condgen_cli.errors import InputError
from condgen_cli.files.sources import Failure, Source
from condgen_cli.item import Item
from condgen_cli.running.randomness import Uniforms, assign_keys, item_key, stream_key


@dataclass(frozen=True)
class Pair:
    left: object
    right: object


CONTENTS = [
    None,
    True,
    1,
    1.0,
    "1",
    b"1",
    ("1",),
    (("1",),),
    ("1", "2"),
    ("12",),
    "",
    "\ud800",
    np.arange(4),
    np.arange(4.0),
    np.arange(4).reshape(2, 2),
    torch.arange(4, dtype=torch.int32),
    {"a": 1},
    Pair("a", "b"),
    Pair("a", Pair("b", "c")),
    Image.new("L", (2, 3)),
    Image.new("L", (3, 2)),
    Image.new("RGB", (2, 3)),
]


def test_keys_differ_where_contents_seeds_or_occurrences_do_and_never_change() -> None:
    keys = [stream_key(seed, content, place) for content in CONTENTS for seed in (0, 2**64 - 1) for place in (0, 1)]
    assert len(set(keys)) == len(keys)
    assert keys == [stream_key(seed, content, place) for content in CONTENTS for seed in (0, 2**64 - 1) for place in (0, 1)]
    assert stream_key(3, "a line") == 0x633584F8A4DCFA0AE9287C5073E42358  # samples of a release are those of the next one
    with pytest.raises(TypeError):
        stream_key(0, object())


@given(keys=st.lists(st.integers(0, 2**128 - 1), min_size=1, max_size=4, unique=True), samples=st.integers(1, 3))
def test_a_row_has_its_numbers_whatever_rows_there_are(keys: list[int], samples: int) -> None:
    together = Uniforms(keys, samples)
    drawn = np.stack([together.draw() for _ in range(70)], 1).reshape(len(keys), samples, 70)
    alone = Uniforms(keys[-1:], 1)
    np.testing.assert_array_equal(drawn[-1, 0], [alone.draw()[0] for _ in range(70)])
    together.keep([0])
    fewer = Uniforms(keys[:1], 1)
    rest = [fewer.draw()[0] for _ in range(140)][70:]
    assert [together.draw()[0] for _ in range(70)] == rest
    assert ((drawn >= 0) & (drawn < 1)).all()


def keys_of(*items: Item | Failure) -> list[int | None]:
    return [item.key if isinstance(item, Item) else None for item in assign_keys(items, 5)]


def test_equal_inputs_are_told_apart_and_others_change_nothing() -> None:
    line, other = Item("1", "line"), Item("2", "other")
    first, second, third = keys_of(line, other, Item("3", "line"))
    assert len({first, second, third}) == 3
    failure = Failure("x", InputError("no"))
    assert keys_of(other, failure, Item("9", "new"), line, line)[::3] == [second, first]
    assert keys_of(Item("n", "line", source="elsewhere", text="line"))[0] == first == item_key(5, line)
    assert keys_of(Item("blank", "", parts=0)) == [0]


def test_a_part_is_told_from_the_same_words_elsewhere() -> None:
    parts = [Item("t", "Yes.", text="Yes. Yes.", part=part, parts=2) for part in range(2)]
    before = Item("u", "Yes.", text="Yes. No.", part=0, parts=2)
    assert len(set(keys_of(*parts))) == 2
    assert keys_of(before, *parts)[1:] == keys_of(*parts)


def test_a_file_is_told_by_what_it_holds(tmp_path: Path) -> None:
    one, copy, longer, late = (tmp_path / name for name in ("one", "copy", "longer", "late"))
    one.write_bytes(b"a" * 3_000_000)
    copy.write_bytes(b"a" * 3_000_000)
    longer.write_bytes(b"a" * 3_000_001)
    late.write_bytes(b"a" * 2_999_999 + b"b")
    keys = [keys_of(Item(path.name, Source(str(path))))[0] for path in (one, copy, longer, late)]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
    missing = [keys_of(Item(name, Source(str(tmp_path / name)), source=name))[0] for name in ("gone", "lost")]
    assert missing[0] != missing[1]


def test_random_keys_follow_torch_and_differ() -> None:
    operations = arrays_of(torch.zeros(1))
    torch.manual_seed(1)
    first = operations.random_keys(3)
    torch.manual_seed(1)
    assert first == operations.random_keys(3)
    assert len(set(first)) == 3
