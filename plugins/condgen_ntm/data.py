"""The data sets: random sequences of given sizes, the same each time they are opened."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from condgen_cli.errors import UsageError
from condgen_cli.item import Item
from condgen_ntm.bit_tasks import LARGEST, TASKS, BitTask, smallest_size
from condgen_ntm.sequences import Bits, BitSequence, Floats, Sequences, bit_text, optimal_probabilities

__all__ = ["GeneratedSet", "as_item", "open_generated", "parse_ranges"]

_SEEDS = {"dev": 1, "test": 2}
_DRAWN = 100
"""Sequences drawn at once."""
_RANGE = re.compile(r"(?P<first>\d{1,6})(?:-(?P<last>\d{1,6}))?")


def as_item(task: BitTask, sequences: Sequences, row: int, id: str, group: str = "") -> Item:
    """One row of a batch as an item. For n-grams, ``meta["optimal_bits"]`` is its cost in bits under the optimal estimator."""
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


class GeneratedSet:
    """The data set of a task: a group of random sequences for each combination of sizes, the same each time it is opened.

    Args:
        task: the task.
        split: ``dev`` or ``test``, which share no random draws.
        count: sequences per group.
        lists: sizes by option name (``BitTask.lists``), in the form of ``parse_ranges``.
    Raises:
        UsageError: for an unknown split or malformed sizes.
    """

    def __init__(self, task: BitTask, split: str, count: int, lists: Mapping[str, str]) -> None:
        if split not in _SEEDS:
            raise UsageError(f"no split named {split!r}", f"its splits: {', '.join(_SEEDS)}")
        self.task = task
        self.split = split
        self.count = count
        values = [parse_ranges(lists[option], option, smallest_size(task, size)) for size, option in task.lists.items()]
        self.groups = [dict(zip(task.lists, combination, strict=True)) for combination in product(*values)]

    def __len__(self) -> int:
        return self.count * len(self.groups)

    def __iter__(self) -> Iterator[Item]:
        for sizes in self.groups:
            # seeded by its sizes: a group's sequences don't depend on the other groups
            rng = np.random.default_rng([_SEEDS[self.split], *sizes.values()])
            name = " ".join(f"{size} {value}" for size, value in sizes.items())
            for start in range(0, self.count, _DRAWN):
                drawn = self.task.draw(rng, min(_DRAWN, self.count - start), **sizes)
                for row in range(len(drawn.inputs)):
                    yield as_item(self.task, drawn, row, f"{self.split}-{name.replace(' ', '-')}-{start + row}", name)


def open_generated(root: Path, split: str, *, task: str, count: str, **lists: str) -> GeneratedSet:
    """A ``GeneratedSet`` from options given as text.

    Raises:
        UsageError: if an option is malformed.
    """
    if not count.isdecimal() or not int(count):
        raise UsageError(f"count can't be {count!r}", "the number of sequences of each size: --set count=100")
    return GeneratedSet(TASKS[task], split, int(count), lists)


copy_set = partial(open_generated, task="copy")
repeat_copy_set = partial(open_generated, task="repeat-copy")
associative_recall_set = partial(open_generated, task="associative-recall")
n_grams_set = partial(open_generated, task="n-grams")
priority_sort_set = partial(open_generated, task="priority-sort")


def parse_ranges(text: str, option: str, least: int = 1) -> list[int]:
    """Numbers and ranges separated by commas: ``1-20,40`` is 1 to 20 and 40.

    Raises:
        UsageError: if the text is malformed, or a number is below ``least`` or above ``LARGEST``.
    """
    numbers: list[int] = []
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        if found is None:
            raise UsageError(f"{option} can't be {text!r}", f"numbers and ranges separated by commas: --set {option}=1-20,40")
        numbers += range(int(found["first"]), int(found["last"] or found["first"]) + 1)
    if not numbers or min(numbers) < least or max(numbers) > LARGEST:
        raise UsageError(f"{option} can't be {text!r}", f"from {least} to {LARGEST}")
    return list(dict.fromkeys(numbers))
