"""The five tasks of Graves et al. 2014, section 4: what a network reads, what it is to write, and random sequences of any size.

Sequences are arrays of a whole batch, all of one length. A vector of bits stands in the first channels, flags come after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from condgen_cli.errors import InputError, UsageError
from condgen_cli.item import Item

__all__ = [
    "ITEM_VECTORS",
    "ORDER",
    "TASKS",
    "BitSequence",
    "BitTask",
    "Generated",
    "Sequences",
    "as_item",
    "associative_recall",
    "bit_text",
    "check_sizes",
    "copy",
    "generated",
    "n_grams",
    "optimal_probabilities",
    "parse_ranges",
    "parsed_bits",
    "priority_sort",
    "random_sizes",
    "read_sequence",
    "repeat_copy",
]

Bits = NDArray[np.uint8]
Floats = NDArray[np.float32]

ITEM_VECTORS = 3
"""Vectors of an item in associative recall."""
ORDER = 6
"""Of the n-grams: a bit depends on the five before it."""
KEPT = 0.8
"""Share of the vectors that priority sort writes: 16 of 20."""
_REPEATS = 5.5, 8.25**0.5
"""Mean and standard deviation of a number drawn from 1 to 10: what repeats are normalised by, those beyond 10 as well."""
_SEEDS = {"dev": 1, "test": 2}
_DRAWN = 100
"""Sequences of a data set that are drawn at once."""
_LARGEST = 1000
_RANGE = re.compile(r"(?P<first>\d{1,6})(?:-(?P<last>\d{1,6}))?")
_LINE = re.compile(r"(?P<bits>[01]+)(?:[\s:,]+(?P<priority>-?\d*\.?\d+))?")


class Sequences(NamedTuple):
    """A batch.

    Args:
        inputs: (batch, steps, channels).
        targets: (batch, answers, outputs), what is to be written in the last ``answers`` steps.
    """

    inputs: Floats
    targets: Bits


class BitSequence(NamedTuple):
    """The condition of an item: one row of ``Sequences``, and the name of its task."""

    task: str
    inputs: Floats
    targets: Bits


@dataclass(frozen=True)
class BitTask:
    """A task.

    Args:
        name: as in ``condgen ntm NAME``.
        bits: of a vector; inputs: channels, flags included; outputs: channels.
        sizes: what a sequence's size is given by, each with the range that the paper trains on.
        lists: the same by their names as options of the data set.
        draw: ``(rng, count, **sizes)`` gives random sequences.
        read: ``(vectors, priorities, repeats, rng)`` makes one sequence of somebody's own bits (count, bits).
        flags: input channels that mark where something begins or ends.
        rows: what the vectors of a sequence must come in multiples of, and how many there must be at least.
        online: whether it answers while it reads.
        priority: input channel that tells the priority of a vector, from -1 to 1, if there is one.
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


def copy(vectors: Bits) -> Sequences:
    """Vectors (batch, length, bits), a flag; to be written: the vectors (section 4.1)."""
    batch, length, bits = vectors.shape
    inputs = np.zeros((batch, 2 * length + 1, bits + 1), np.float32)
    inputs[:, :length, :bits] = vectors
    inputs[:, length, bits] = 1
    return Sequences(inputs, vectors)


def repeat_copy(vectors: Bits, repeats: int) -> Sequences:
    """Vectors (batch, length, bits), a flag beside the number of repeats; to be written: the vectors so many times, an end
    marker.

    The number is normalised to mean 0 and variance 1 over 1 to 10 (section 4.2). The marker is an output channel of its own.
    """
    batch, length, bits = vectors.shape
    answers = length * repeats + 1
    inputs = np.zeros((batch, length + 1 + answers, bits + 2), np.float32)
    inputs[:, :length, :bits] = vectors
    inputs[:, length, bits:] = 1, (repeats - _REPEATS[0]) / _REPEATS[1]
    targets = np.zeros((batch, answers, bits + 1), np.uint8)
    targets[:, :-1, :bits] = np.tile(vectors, (1, repeats, 1))
    targets[:, -1, bits] = 1
    return Sequences(inputs, targets)


def associative_recall(items: Bits, asked: NDArray[np.int64]) -> Sequences:
    """Items (batch, count, vectors, bits), each after a flag; then an item between flags of another kind; to be written: the
    item that came after it (section 4.3).

    Args:
        items: at least two of them.
        asked: (batch,) which one is shown again, from 0 to count - 2.
    """
    batch, count, size, bits = items.shape
    rows = np.arange(batch)
    read = count * (size + 1)
    inputs = np.zeros((batch, read + 2 + 2 * size, bits + 2), np.float32)
    grouped = inputs[:, :read].reshape(batch, count, size + 1, bits + 2)
    grouped[:, :, 0, bits] = 1
    grouped[:, :, 1:, :bits] = items
    inputs[:, :read] = grouped.reshape(batch, read, bits + 2)
    inputs[:, [read, read + size + 1], bits + 1] = 1
    inputs[:, read + 1 : read + 1 + size, :bits] = items[rows, asked]
    return Sequences(inputs, items[rows, asked + 1])


def n_grams(bits: Bits) -> Sequences:
    """Bits (batch, length), one a step; to be written: the next bit, once there are five before it (section 4.4)."""
    return Sequences(bits[:, :-1, None].astype(np.float32), bits[:, ORDER - 1 :, None])


def priority_sort(vectors: Bits, priorities: NDArray[np.float64]) -> Sequences:
    """Vectors (batch, count, bits), each with its priority, then a flag; to be written: the four fifths with the highest
    priorities, highest first (section 4.5).

    Args:
        priorities: (batch, count) from -1 to 1.
    """
    batch, count, bits = vectors.shape
    kept = max(1, round(KEPT * count))
    inputs = np.zeros((batch, count + 1 + kept, bits + 2), np.float32)
    inputs[:, :count, :bits] = vectors
    inputs[:, :count, bits] = priorities
    inputs[:, count, bits + 1] = 1
    order = np.argsort(-priorities, axis=1, kind="stable")[:, :kept, None]
    return Sequences(inputs, np.take_along_axis(vectors, order, 1))


def optimal_probabilities(bits: Bits) -> NDArray[np.float64]:
    """What the optimal estimator gives for a 1 at each bit with five before it: (N1 + 1/2) / (N1 + N0 + 1), where N1 and N0
    count ones and zeros that came after the same five bits so far (eq. 10).

    Args:
        bits: (batch, length).
    Returns:
        (batch, length - 5).
    """
    windows = np.lib.stride_tricks.sliding_window_view(bits[:, :-1], ORDER - 1, axis=1)
    contexts = windows @ (1 << np.arange(ORDER - 1))
    following = bits[:, ORDER - 1 :]
    before = np.tri(following.shape[1], k=-1, dtype=bool)
    same = (contexts[:, :, None] == contexts[:, None, :]) & before
    ones, all = (same & (following[:, None, :] == 1)).sum(2), same.sum(2)
    return (ones + 0.5) / (all + 1.0)


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
    """Each sequence has a table of its own: the probability of a 1 after each five bits, drawn from Beta(1/2, 1/2)."""
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


def random_sizes(task: BitTask, ranges: Mapping[str, tuple[int, int]], rng: np.random.Generator) -> dict[str, int]:
    """Sizes of one batch, each drawn from its range, both ends included; the task's own where ``ranges`` has none."""
    drawn = {}
    for name, default in task.sizes.items():
        low, high = ranges.get(name, default)
        drawn[name] = int(rng.integers(low, high + 1))
    return drawn


def bit_text(vectors: Bits) -> str:
    """Bits (steps, outputs) as a text: ``01101001 11010010``."""
    return " ".join("".join("01"[bit] for bit in vector) for vector in vectors)


def parsed_bits(text: str) -> Bits:
    """What ``bit_text`` wrote."""
    return np.array([[character == "1" for character in vector] for vector in text.split()], np.uint8)


def as_item(task: BitTask, sequences: Sequences, row: int, id: str, group: str = "") -> Item:
    """One row of a batch. ``meta["optimal_bits"]`` is the cost of n-grams under the optimal estimator."""
    inputs, targets = sequences.inputs[row], sequences.targets[row]
    read = ~inputs[:, list(task.flags)].any(1)
    if not task.online:
        read[len(inputs) - len(targets) :] = False
    text = bit_text(inputs[read, : task.bits].astype(np.uint8))
    meta = {"optimal_bits": _optimal_bits(inputs, targets)} if task.online else {}
    condition = BitSequence(task.name, inputs, targets)
    return Item(id, condition, (bit_text(targets),), source=id, group=group, meta=meta, text=text)


def _optimal_bits(inputs: Floats, targets: Bits) -> float:
    chances = optimal_probabilities(np.append(inputs[:, 0], targets[-1, 0]).astype(np.uint8)[None])[0]
    return float(-np.log2(np.where(targets[:, 0] == 1, chances, 1 - chances)).sum())


class Generated:
    """The data set of a task: a group of random sequences for every combination of sizes, the same whenever it is opened.

    Args:
        task: whose sequences.
        split: ``dev`` or ``test``, which differ in all sequences.
        count: sequences of each group.
        lists: sizes by the names of the task's lists, as ``parse_ranges`` reads them.
    Raises:
        UsageError: for another split, or sizes that can't be read.
    """

    def __init__(self, task: BitTask, split: str, count: int, lists: Mapping[str, str]) -> None:
        if split not in _SEEDS:
            raise UsageError(f"no split named {split!r}", f"its splits: {', '.join(_SEEDS)}")
        self.task = task
        self.split = split
        self.count = count
        values = [parse_ranges(lists[option], option, _smallest(task, size)) for size, option in task.lists.items()]
        self.groups = [dict(zip(task.lists, combination, strict=True)) for combination in product(*values)]

    def __len__(self) -> int:
        return self.count * len(self.groups)

    def __iter__(self) -> Iterator[Item]:
        for sizes in self.groups:
            # a group's sequences don't depend on which others there are
            rng = np.random.default_rng([_SEEDS[self.split], *sizes.values()])
            name = " ".join(f"{size} {value}" for size, value in sizes.items())
            for start in range(0, self.count, _DRAWN):
                drawn = self.task.draw(rng, min(_DRAWN, self.count - start), **sizes)
                for row in range(len(drawn.inputs)):
                    yield as_item(self.task, drawn, row, f"{self.split}-{name.replace(' ', '-')}-{start + row}", name)


def generated(root: Path, split: str, *, task: str, count: str, **lists: str) -> Generated:
    """Opens ``Generated`` with options as texts.

    Raises:
        UsageError: if they can't be read.
    """
    if not count.isdecimal() or not int(count):
        raise UsageError(f"count can't be {count!r}", "how many sequences of each size: --set count=100")
    return Generated(TASKS[task], split, int(count), lists)


copy_set = partial(generated, task="copy")
repeat_copy_set = partial(generated, task="repeat-copy")
associative_recall_set = partial(generated, task="associative-recall")
n_grams_set = partial(generated, task="n-grams")
priority_sort_set = partial(generated, task="priority-sort")


def parse_ranges(text: str, option: str, smallest: int = 1) -> list[int]:
    """Numbers and ranges between commas: ``1-20,40`` is 1 to 20 and 40.

    Raises:
        UsageError: if it is nothing of the kind, or a number is below ``smallest``.
    """
    numbers: list[int] = []
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        if found is None:
            raise UsageError(f"{option} can't be {text!r}", f"numbers and ranges between commas: --set {option}=1-20,40")
        numbers += range(int(found["first"]), int(found["last"] or found["first"]) + 1)
    if not numbers or min(numbers) < smallest or max(numbers) > _LARGEST:
        raise UsageError(f"{option} can't be {text!r}", f"from {smallest} to {_LARGEST}")
    return list(dict.fromkeys(numbers))


def _smallest(task: BitTask, size: str) -> int:
    """What there must be of a size: two items to recall one, six bits to predict one."""
    return {"items": 2 if task.name == "associative-recall" else 1, "length": task.rows[1]}.get(size, 1)


def sizes_of(sequence: BitSequence) -> dict[str, int]:
    """The sizes of a sequence, by their names in ``BitTask.sizes``."""
    task, inputs, answers = TASKS[sequence.task], sequence.inputs, len(sequence.targets)
    if task.online:
        return {"length": len(inputs) + 1}
    before = int(inputs[:, list(task.flags)].any(1).argmax())  # what stands before the first flag
    if task.name == "associative-recall":
        return {"items": int(inputs[:, task.flags[0]].sum())}
    if "repeats" in task.sizes:
        return {"length": before, "repeats": (answers - 1) // before}
    return {next(iter(task.sizes)): before}


def check_sizes(task: BitTask, sizes: Mapping[str, int]) -> None:
    """
    Raises:
        UsageError: if the task has no such size, or it is out of range.
    """
    for name, value in sizes.items():
        if name not in task.sizes:
            raise UsageError(f"{task.name} has no --{name}", f"its sizes: {', '.join(f'--{size}' for size in task.sizes)}")
        if not _smallest(task, name) <= value <= _LARGEST:
            raise UsageError(f"--{name} can't be {value}", f"from {_smallest(task, name)} to {_LARGEST}")


def read_sequence(task: BitTask, lines: Sequence[str], place: str, repeats: int, rng: np.random.Generator) -> Sequences:
    """Somebody's own bits as a sequence.

    Args:
        lines: a vector each, ``01101001``; with priority sort a number may follow, its priority.
        place: what errors call them.
        repeats: of repeat copy.
        rng: draws what the bits don't tell: priorities, and which item is asked for.
    Raises:
        InputError: if they are no bits, not of one width, or not as many as the task needs.
    """
    found = [_LINE.fullmatch(line.strip()) for line in lines]
    for number, (line, match) in enumerate(zip(lines, found, strict=True), 1):
        if match is None:
            raise InputError(f"{place}: vector {number} is {line.strip()[:20]!r}, not a row of 0 and 1")
    matches = [match for match in found if match]
    width, priorities = {len(match["bits"]) for match in matches}, [match["priority"] for match in matches]
    if task.online:
        matches_bits = "".join(match["bits"] for match in matches)
        vectors = parsed_bits(" ".join(matches_bits))
    else:
        if len(width) > 1:
            raise InputError(f"{place}: its vectors have {', '.join(map(str, sorted(width)))} bits; they must be of one width")
        vectors = parsed_bits(" ".join(match["bits"] for match in matches))
        if vectors.shape[1] > task.bits:
            raise InputError(f"{place}: vectors of {vectors.shape[1]} bits are wider than the model's {task.bits}")
        vectors = np.pad(vectors, ((0, 0), (0, task.bits - vectors.shape[1])))
    multiple, least = task.rows
    if len(vectors) < least or len(vectors) % multiple:
        wanted = f"at least {least}" + (f", in multiples of {multiple}" if multiple > 1 else "")
        raise InputError(f"{place}: {len(vectors)} {'bits' if task.online else 'vectors'}; {task.name} needs {wanted}")
    if any(priorities) and (task.name != "priority-sort" or not all(priorities)):
        raise InputError(f"{place}: priorities are for priority-sort alone, and for all of its vectors or none")
    return task.read(vectors, np.array(priorities, float) if all(priorities) else None, repeats, rng)
