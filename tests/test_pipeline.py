"""Windows, batches of like length, and the order in which they were read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Queue

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from condgen_cli.running.pipeline import batch_available, batched, restore_order, sorted_batches


@settings(max_examples=40)
@given(st.lists(st.integers(0, 50)), st.integers(1, 5), st.integers(1, 4))
def test_sorted_batches_can_be_put_back_in_order(values: list[int], size: int, batches: int) -> None:
    window = size * batches
    found = list(sorted_batches(batched(values, window), size, lambda value: value))
    assert all(len(batch) == len(places) <= size for places, batch in found)
    placed = [pair for places, batch in found for pair in zip(places, batch, strict=True)]
    assert list(restore_order(placed)) == values
    for start in range(0, len(values), window):
        inside = placed[start : start + window]
        assert sorted(place for place, _ in inside) == list(range(start, start + len(inside)))
        assert [value for _, value in inside] == sorted(values[start : start + window], reverse=True)


def test_without_a_key_the_order_is_kept() -> None:
    assert list(sorted_batches(batched([3, 1, 2], 2), 2, None)) == [([0, 1], [3, 1]), ([2], [2])]


def test_a_value_waits_only_for_those_before_it() -> None:
    given: list[int] = []

    def placed() -> Iterator[tuple[int, str]]:
        for place in (2, 0, 3, 1):
            given.append(place)
            yield place, f"value {place}"

    results = restore_order(placed())
    assert next(results) == "value 0"
    assert given == [2, 0]
    assert list(results) == ["value 1", "value 2", "value 3"]


def test_available_does_not_wait_for_a_full_list() -> None:
    queue: Queue[int | None] = Queue()
    lists = batch_available(iter(queue.get, None), 4)  # type: ignore[arg-type]
    for value in (1, 2):
        queue.put(value)
        assert next(lists) == [value]
    queue.put(None)
    assert list(lists) == []


@settings(max_examples=40)
@given(st.lists(st.integers()), st.integers(1, 5))
def test_available_gives_all_in_order(values: list[int], size: int) -> None:
    lists = list(batch_available(values, size))
    assert [value for one in lists for value in one] == values
    assert all(1 <= len(one) <= size for one in lists)


def test_available_reads_a_bounded_number_ahead() -> None:
    read, full = 0, threading.Event()

    def values() -> Iterator[int]:
        nonlocal read
        while True:
            read += 1
            if read == 5:
                full.set()
            yield read

    lists = batch_available(values(), 4)
    count = len(next(lists))
    assert full.wait(5)
    assert read <= count + 6
    lists.close()  # type: ignore[attr-defined]


def test_available_raises_after_what_came_before() -> None:
    def values() -> Iterator[int]:
        yield from (1, 2)
        raise OSError("gone")

    lists = batch_available(values(), 5)
    found: list[int] = []
    with pytest.raises(OSError, match="gone"):
        found.extend(value for one in lists for value in one)
    assert found == [1, 2]


def test_available_counts_what_values_weigh() -> None:
    read, full = 0, threading.Event()

    def values() -> Iterator[int]:
        nonlocal read
        for read in range(1, 101):
            if read == 3:
                full.set()
            yield read

    lists = batch_available(values(), 8, lambda value: 4)
    first = next(lists)
    assert 1 <= len(first) <= 2
    assert full.wait(5)
    assert read <= len(first) + 3, "no more than weigh 8 beyond those that were given, and the one that waits"
    assert first + [value for values in lists for value in values] == list(range(1, 101))
