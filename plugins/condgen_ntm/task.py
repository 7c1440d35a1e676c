"""Input and output of the ntm command: bits, and the target beside them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from condgen_cli.errors import InputError
from condgen_cli.item import Item
from condgen_cli.terminal import console

if TYPE_CHECKING:
    from condgen_cli.generation import Generation

__all__ = ["read", "text"]

_ZERO, _ONE, _WRONG = ".", "#", "x"
_RED = "\x1b[1;31m{}\x1b[0m"


def read(source: str) -> Iterator[Item]:
    """A sequence from a text: a task and its vectors, such as ``copy 01101001 11010010``.

    For repeat copy, ``x3`` at the end is the number of repeats; for priority sort, ``01101001:0.5`` gives a vector a priority.
    What isn't given is drawn at random, seeded by the text.

    Raises:
        InputError: if the text is malformed.
    """
    import numpy as np

    from condgen_ntm.bit_tasks import TASKS
    from condgen_ntm.data import as_item
    from condgen_ntm.own_bits import read_sequence

    name, *vectors = source.split() or [""]
    if name not in TASKS:
        raise InputError(f"{name!r} is not a task", f"a task and bits: 'copy 01101001 11010010'; tasks: {', '.join(TASKS)}")
    repeats = 1
    if vectors and vectors[-1][:1] == "x" and vectors[-1][1:].isdecimal():
        repeats = int(vectors.pop()[1:])
    rng = np.random.default_rng(zlib.crc32(source.encode("utf-8", "replace")))
    sequences = read_sequence(TASKS[name], vectors, name, repeats, rng)
    yield as_item(TASKS[name], sequences, 0, name)


def text(generation: Generation, color: bool) -> str:
    """Target and output as pictures, bits down and steps across, wrong bits marked, and the number of wrong bits."""
    wanted, written = list(generation.details["target"]), list(generation.tokens)
    wrong = {(error["step"], error["bit"]) for error in generation.details["errors"]}
    across = max(8, console.width() - len("target  "))
    lines: list[str] = []
    for start in range(0, len(written), across):
        steps = range(start, min(start + across, len(written)))
        lines += [""] * bool(lines)
        for name, vectors in (("target", wanted), ("output", written)):
            for bit in range(len(vectors[0])):
                cells = (_cell(vectors[step][bit], name == "output" and (step, bit) in wrong, color) for step in steps)
                lines.append(f"{'' if bit else name:<8}{''.join(cells)}")
    total = len(written) * len(written[0])
    legend = f"   {_ONE} 1, {_ZERO} 0, {_WRONG} wrong" if wrong else ""
    return "\n".join([*lines, f"{len(wrong)} of {total:,} bits wrong{legend}"])


def _cell(bit: str, wrong: bool, color: bool) -> str:
    if wrong:
        return _RED.format(_WRONG) if color else _WRONG
    return _ONE if bit == "1" else _ZERO
