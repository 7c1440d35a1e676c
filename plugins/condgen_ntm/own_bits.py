"""Sequences of a user's own bits."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from condgen_cli.errors import InputError
from condgen_ntm.bit_tasks import BitTask
from condgen_ntm.sequences import Sequences, parse_bits

__all__ = ["read_sequence"]

_LINE = re.compile(r"(?P<bits>[01]+)(?:[\s:,]+(?P<priority>-?\d*\.?\d+))?")


def read_sequence(task: BitTask, lines: Sequence[str], place: str, repeats: int, rng: np.random.Generator) -> Sequences:
    """Make a sequence of a user's own bits.

    Args:
        task: the task.
        lines: one vector each, such as ``01101001``; for priority sort a number may follow, its priority.
        place: name of the input in error messages.
        repeats: repeats of repeat copy.
        rng: source of what isn't given: priorities, and the queried item.
    Raises:
        InputError: if a line isn't a vector of bits, widths differ, or the task needs another number of vectors.
    """
    found = [_LINE.fullmatch(line.strip()) for line in lines]
    for number, (line, match) in enumerate(zip(lines, found, strict=True), 1):
        if match is None:
            raise InputError(f"{place}: vector {number} is {line.strip()[:20]!r}, not a row of 0 and 1")
    matches = [match for match in found if match]
    width, priorities = {len(match["bits"]) for match in matches}, [match["priority"] for match in matches]
    if task.online:
        matches_bits = "".join(match["bits"] for match in matches)
        vectors = parse_bits(" ".join(matches_bits))
    else:
        if len(width) > 1:
            raise InputError(f"{place}: its vectors have {', '.join(map(str, sorted(width)))} bits; all need the same width")
        vectors = parse_bits(" ".join(match["bits"] for match in matches))
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
