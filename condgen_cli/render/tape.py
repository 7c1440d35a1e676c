"""Attention over the slots of a writable memory, drawn as a tape: slots down, steps across, as in Graves et al. 2014."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from condgen_cli.generation import Generation
from condgen_cli.render.lines import SHADES, Floats, Lines, fit, heat, heat_color, shades, stack_letters, wrap
from condgen_cli.render.panels import Panel, panels
from condgen_cli.render.template import fill_page, script_json

__all__ = ["FAINT", "Tape", "as_arrays", "is_tape", "relative_weights", "tape_lines", "tape_page"]

FAINT = 0.05
"""Share of a map's largest weight below which a slot counts as not attended to."""

SPREAD = 0.15
"""Largest weight below which a head attends to no slot in particular, so that it isn't drawn."""


@dataclass(frozen=True)
class Tape:
    """The contents of a memory's slots in each step: the condition (``Generation.condition``) of maps over slots.

    Args:
        contents: (steps, slots, size) contents after the write of each step.
        erase, add: (steps, heads, size) erase vector, in [0, 1], and add vector of each write head.
    """

    contents: NDArray[np.float32]
    erase: NDArray[np.float32]
    add: NDArray[np.float32]


def is_tape(panel: Panel, generation: Generation) -> bool:
    """Whether a panel's positions are the slots of a writable memory."""
    return isinstance(generation.condition, Tape) and [axis.kind for axis in panel.axes] == ["slots"]


def relative_weights(panel: Panel) -> Floats:
    """Weights (slots, steps) divided by the panel's largest weight."""
    peak = panel.weights.max(initial=0.0)
    return np.ascontiguousarray(panel.weights.T) / (peak if peak > 0 else 1.0)


def as_arrays(generation: Generation) -> dict[str, NDArray[np.float32]]:
    """The arrays of a generation's tape by name, for data files; empty without a tape."""
    tape = generation.condition
    return {"contents": tape.contents, "erase": tape.erase, "add": tape.add} if isinstance(tape, Tape) else {}


def tape_lines(panel: Panel, width: int, color: bool, levels: str) -> Lines:
    """A tape with slots down and steps across, each step's token above its column; slots without attention are left out.

    Steps that don't fit side by side continue below. A head that attends to no slot in particular is one line of text.
    """
    peak = panel.weights.max(initial=0.0)
    if peak < SPREAD:
        return wrap(f"Spread over the slots, {peak:.2f} at most on one.", width, "dim")
    relative = relative_weights(panel)
    names = [str(name) for name in panel.axes[0].labels]
    name_width = max(map(len, names)) + 1
    room = width - name_width
    across = 2 if 2 * len(panel.steps) <= room else 1
    scale = "Bright is" if color else f'Shades "{SHADES}" go from 0 to'
    legend = f"{scale} {peak:.2f}. Down: {panel.axes[0].name}. Across: {panel.step_axis[0]}."
    lines = wrap(legend, width, "dim")
    for start in range(0, len(panel.steps), room // across):
        part = slice(start, start + room // across)
        lines += [Text(""), *_block(relative[:, part], panel.steps[part], names, across, color, levels)]
    return lines


def _block(relative: Floats, steps: tuple[str, ...], names: list[str], across: int, color: bool, levels: str) -> Lines:
    name_width = max(map(len, names)) + 1
    lines = [Text(" " * name_width).append_text(heading) for heading in stack_letters(list(steps), across)]
    used = relative.max(1) >= FAINT
    drawn = shades(relative, across, levels)
    for slot, name in enumerate(names):
        if used[slot]:
            cells = heat(relative[slot], [across] * len(steps)) if color else Text(drawn[slot])
            lines.append(fit(name.rjust(name_width - 1), name_width).append_text(cells))
        elif slot == 0 or used[slot - 1]:
            lines.append(Text("." * (name_width - 1), "dim"))
    return lines


def tape_page(generation: Generation, title: str) -> str:
    """A self-contained page: the weights of all heads, and the memory's contents, erase and add vectors at a step that a slider
    selects.

    Contents are rounded to 1/254 of the largest.
    """
    tape = generation.condition
    assert isinstance(tape, Tape)
    drawn = [panel for panel in panels(generation) if is_tape(panel, generation)]
    data = {
        "steps": drawn[0].steps,
        "slots": tape.contents.shape[1],
        "size": tape.contents.shape[2],
        "panels": [{"title": panel.title, "cells": _encode_bytes(relative_weights(panel).T, 0)} for panel in drawn],
        "contents": _encode_signed(tape.contents),
        "erase": _encode_signed(tape.erase),
        "add": _encode_signed(tape.add),
        "heads": tape.add.shape[1],
        "heat": ["#{:02x}{:02x}{:02x}".format(*heat_color(level / 255)) for level in range(256)],
    }
    values = {"title": escape(title), "output": escape(str(generation.output)), "data": script_json(data)}
    return fill_page("condgen_cli.render", "tape.html", values)


def _encode_signed(values: NDArray[np.float32]) -> dict[str, Any]:
    """Encode signed numbers as bytes, with 127 for 0."""
    largest = float(np.abs(values).max(initial=0.0)) or 1.0
    return {"largest": round(largest, 4), "cells": _encode_bytes(values / largest / 2, 127)}


def _encode_bytes(shares: Any, zero: int) -> str:
    return base64.b64encode(np.rint(np.asarray(shares) * 254 + zero).clip(0, 255).astype(np.uint8).tobytes()).decode("ascii")
