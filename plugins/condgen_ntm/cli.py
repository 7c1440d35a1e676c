"""What ``condgen ntm`` takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from condgen_cli.errors import InputError, UsageError
from condgen_cli.files.sources import Failure, Source
from condgen_cli.inputs.lines import Texts
from condgen_cli.item import Item
from condgen_cli.tasks.job import Job, TaskOptions

__all__ = ["ntm"]


class BitTaskName(StrEnum):
    """The tasks of Graves et al. 2014."""

    copy = "copy"
    repeat_copy = "repeat-copy"
    associative_recall = "associative-recall"
    n_grams = "n-grams"
    priority_sort = "priority-sort"


TaskArg = Annotated[BitTaskName, typer.Argument(metavar="TASK", help="What to do with the bits.")]
LengthOpt = Annotated[
    int | None, typer.Option("--length", metavar="N", help="Vectors of a random sequence.  [default: the longest trained on]")
]
RepeatsOpt = Annotated[int | None, typer.Option("--repeats", metavar="N", help="repeat-copy: how many times.")]
ItemsOpt = Annotated[
    int | None, typer.Option("--items", metavar="N", help="associative-recall, priority-sort: items of a random sequence.")
]
BitsOpt = Annotated[
    str | None,
    typer.Option(
        "--bits", metavar="FILE", help="Your own bits, a vector a line, an empty line between sequences; - for standard input."
    ),
]


def ntm(
    task: TaskArg,
    options: TaskOptions,
    length: LengthOpt = None,
    repeats: RepeatsOpt = None,
    items: ItemsOpt = None,
    bits: BitsOpt = None,
) -> Job:
    """Copy, recall and sort bits through a memory, and show what is written and read where."""
    given = {"length": length, "repeats": repeats, "items": items}
    sizes = {name: value for name, value in given.items() if value is not None}
    inputs = _random(task, sizes, options.seed) if bits is None else _own(task, sizes, bits, options.seed)
    return Job(inputs, replace(options, model=options.model or f"ntm-{task}"))


def _random(task: str, sizes: dict[str, int], seed: int) -> Texts:
    """A random sequence.

    Raises:
        UsageError: for sizes that the task doesn't have.
    """
    import numpy as np

    from condgen_ntm.bit_tasks import TASKS, check_sizes
    from condgen_ntm.data import as_item

    spec = TASKS[task]
    check_sizes(spec, sizes)
    longest = {name: high for name, (_, high) in spec.sizes.items()}
    drawn = spec.draw(np.random.default_rng(seed), 1, **{**longest, **sizes})
    return Texts([as_item(spec, drawn, 0, str(task))], several=False)


def _own(task: str, sizes: dict[str, int], file: str, seed: int) -> Texts:
    """The sequences of a file.

    Raises:
        UsageError: for sizes that the bits themselves tell.
        NotFoundError, InputError: if there are no bits in it.
    """
    from condgen_ntm.bit_tasks import TASKS, check_sizes

    spec = TASKS[task]
    check_sizes(spec, sizes)
    for name in sizes.keys() - {"repeats"}:
        raise UsageError(f"--bits tells the size itself: it goes without --{name}")
    source = Source(file)
    try:
        lines = source.open().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{source.name} is not text", "a vector a line: 01101001") from None
    sequences = _parted(lines)
    if not sequences:
        raise InputError(f"{source.name} is empty", "a vector a line: 01101001")
    repeats = sizes.get("repeats", spec.sizes.get("repeats", (1, 1))[1])
    several = len(sequences) > 1
    name = Path(source.name).name
    read = [
        _read(task, vectors, f"{name}:{number}" if several else name, repeats, seed)
        for number, vectors in enumerate(sequences, 1)
    ]
    if not several and isinstance(read[0], Failure):
        raise read[0].error
    return Texts(read, several)


def _parted(lines: Sequence[str]) -> list[list[str]]:
    """Runs of lines between empty ones."""
    sequences: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            sequences[-1].append(line)
        elif sequences[-1]:
            sequences.append([])
    return [sequence for sequence in sequences if sequence]


def _read(task: str, vectors: Sequence[str], name: str, repeats: int, seed: int) -> Item | Failure:
    import numpy as np

    from condgen_ntm.bit_tasks import TASKS
    from condgen_ntm.data import as_item
    from condgen_ntm.own_bits import read_sequence

    try:
        sequences = read_sequence(TASKS[task], vectors, name, repeats, np.random.default_rng(seed))
    except InputError as error:
        return Failure(name, error)
    return as_item(TASKS[task], sequences, 0, name)
