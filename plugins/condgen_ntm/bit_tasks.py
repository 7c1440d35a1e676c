"""The five tasks of Graves et al. 2014, section 4: channels, sizes and random sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from condgen_cli.errors import UsageError
from condgen_ntm.sequences import (
    ITEM_VECTORS,
    ORDER,
    Bits,
    BitSequence,
    Sequences,
    associative_recall,
    copy,
    n_grams,
    priority_sort,
    repeat_copy,
)

__all__ = ["LARGEST", "TASKS", "BitTask", "check_sizes", "draw_sizes", "find_sizes", "smallest_size"]

LARGEST = 1000
"""The most vectors, items or repeats of a sequence."""


@dataclass(frozen=True)
class BitTask:
    """A task.

    Args:
        name: name in ``condgen ntm NAME``.
        bits: bits of a vector.
        inputs: input channels, flags included.
        outputs: output channels.
        sizes: size parameters of a sequence, each with the range that the paper trains on.
        lists: the data set's option for each size parameter.
        draw: ``(rng, count, **sizes)`` returns random sequences.
        read: ``(vectors, priorities, repeats, rng)`` makes one sequence of a user's bits (count, bits).
        flags: input channels that mark where something begins or ends.
        rows: required multiple and minimum of the number of vectors in a sequence.
        online: whether targets are written while the input is read.
        priority: input channel of a vector's priority, from -1 to 1; None if there is none.
    """

    name: str
    bits: int
    inputs: int
    outputs: int
    sizes: Mapping[str, tuple[int, int]]
    lists: Mapping[str, str]
    draw: Callable[..., Sequences]
    read: Callable[[Bits, NDArray[np.float64] | None, int, np.random.Generator], Sequences]
    flags: tuple[int, ...]
    rows: tuple[int, int] = (1, 1)
    online: bool = False
    priority: int | None = None


def _random_bits(rng: np.random.Generator, *shape: int) -> Bits:
    return rng.integers(0, 2, shape, np.uint8)


def _draw_copy(rng: np.random.Generator, count: int, length: int) -> Sequences:
    return copy(_random_bits(rng, count, length, 8))


def _draw_repeat_copy(rng: np.random.Generator, count: int, length: int, repeats: int) -> Sequences:
    return repeat_copy(_random_bits(rng, count, length, 8), repeats)


def _draw_associative_recall(rng: np.random.Generator, count: int, items: int) -> Sequences:
    vectors = _random_bits(rng, count, items, ITEM_VECTORS, 6)
    return associative_recall(vectors, rng.integers(0, items - 1, count))


def _draw_n_grams(rng: np.random.Generator, count: int, length: int) -> Sequences:
    """Each sequence has its own table of P(1 | last five bits), drawn from Beta(1/2, 1/2)."""
    table = rng.beta(0.5, 0.5, (count, 1 << (ORDER - 1)))
    bits = _random_bits(rng, count, length)
    chances = rng.random((count, length))
    context = bits[:, : ORDER - 1] @ (1 << np.arange(ORDER - 1)[::-1])
    rows = np.arange(count)
    for step in range(ORDER - 1, length):
        bits[:, step] = chances[:, step] < table[rows, context]
        context = (2 * context + bits[:, step]) % (1 << (ORDER - 1))
    return n_grams(bits)


def _draw_priority_sort(rng: np.random.Generator, count: int, items: int) -> Sequences:
    return priority_sort(_random_bits(rng, count, items, 8), rng.uniform(-1, 1, (count, items)))


def _read_copy(vectors: Bits, _: object, repeats: int, rng: np.random.Generator) -> Sequences:
    return copy(vectors[None])


def _read_repeat_copy(vectors: Bits, _: object, repeats: int, rng: np.random.Generator) -> Sequences:
    return repeat_copy(vectors[None], repeats)


def _read_associative_recall(vectors: Bits, _: object, repeats: int, rng: np.random.Generator) -> Sequences:
    items = vectors.reshape(1, -1, ITEM_VECTORS, vectors.shape[1])
    return associative_recall(items, rng.integers(0, items.shape[1] - 1, 1))


def _read_n_grams(vectors: Bits, _: object, repeats: int, rng: np.random.Generator) -> Sequences:
    return n_grams(vectors[None, :, 0])


def _read_priority_sort(
    vectors: Bits, priorities: NDArray[np.float64] | None, repeats: int, rng: np.random.Generator
) -> Sequences:
    return priority_sort(vectors[None], rng.uniform(-1, 1, (1, len(vectors))) if priorities is None else priorities[None])


TASKS: Mapping[str, BitTask] = {
    task.name: task
    for task in (
        BitTask("copy", 8, 9, 8, {"length": (1, 20)}, {"length": "lengths"}, _draw_copy, _read_copy, (8,)),
        BitTask(
            "repeat-copy",
            8,
            10,
            9,
            {"length": (1, 10), "repeats": (1, 10)},
            {"length": "lengths", "repeats": "repeats"},
            _draw_repeat_copy,
            _read_repeat_copy,
            (8,),
        ),
        BitTask(
            "associative-recall",
            6,
            8,
            6,
            {"items": (2, 6)},
            {"items": "items"},
            _draw_associative_recall,
            _read_associative_recall,
            (6, 7),
            rows=(ITEM_VECTORS, 2 * ITEM_VECTORS),
        ),
        BitTask(
            "n-grams",
            1,
            1,
            1,
            {"length": (200, 200)},
            {"length": "lengths"},
            _draw_n_grams,
            _read_n_grams,
            (),
            rows=(1, ORDER),
            online=True,
        ),
        BitTask(
            "priority-sort",
            8,
            10,
            8,
            {"items": (20, 20)},
            {"items": "items"},
            _draw_priority_sort,
            _read_priority_sort,
            (9,),
            priority=8,
        ),
    )
}
"""By name."""


def draw_sizes(task: BitTask, ranges: Mapping[str, tuple[int, int]], rng: np.random.Generator) -> dict[str, int]:
    """Sizes of one batch, each drawn from its inclusive range; the task's own range where ``ranges`` lacks one."""
    drawn = {}
    for name, default in task.sizes.items():
        low, high = ranges.get(name, default)
        drawn[name] = int(rng.integers(low, high + 1))
    return drawn


def smallest_size(task: BitTask, size: str) -> int:
    """Minimum of a size: recall needs two items, prediction six bits."""
    return {"items": 2 if task.name == "associative-recall" else 1, "length": task.rows[1]}.get(size, 1)


def find_sizes(sequence: BitSequence) -> dict[str, int]:
    """The sizes of a sequence, by their names in ``BitTask.sizes``."""
    task, inputs, answers = TASKS[sequence.task], sequence.inputs, len(sequence.targets)
    if task.online:
        return {"length": len(inputs) + 1}
    before = int(inputs[:, list(task.flags)].any(1).argmax())  # steps before the first flag
    if task.name == "associative-recall":
        return {"items": int(inputs[:, task.flags[0]].sum())}
    if "repeats" in task.sizes:
        return {"length": before, "repeats": (answers - 1) // before}
    return {next(iter(task.sizes)): before}


def check_sizes(task: BitTask, sizes: Mapping[str, int]) -> None:
    """Check sizes given on the command line.

    Raises:
        UsageError: if the task has no such size, or it is out of range.
    """
    for name, value in sizes.items():
        if name not in task.sizes:
            raise UsageError(f"{task.name} has no --{name}", f"its sizes: {', '.join(f'--{size}' for size in task.sizes)}")
        if not smallest_size(task, name) <= value <= LARGEST:
            raise UsageError(f"--{name} can't be {value}", f"from {smallest_size(task, name)} to {LARGEST}")
