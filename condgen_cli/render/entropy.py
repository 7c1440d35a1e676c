"""Attention in numbers: its entropy, and its strongest positions."""

from __future__ import annotations

import math
from dataclasses import replace

from condgen_cli.generation import AttentionMap, Axis, Generation
from condgen_cli.render.panels import panels
from condgen_cli.render.pieces import label, readable
from condgen_cli.render.tables import Cell, table

__all__ = ["entropy_table"]

_RULE = "─"
"""Rule of drawn tables; if the terminal can't encode it, tables are plain text."""


def entropy_table(generation: Generation, *, width: int, color: bool, strongest: int = 3, encoding: str = "utf-8") -> str:
    """A table for each map: see ``condgen_cli.render.entropy_table``."""
    if not panels(generation):
        return "no attention: this model has no map to show"
    several = len(generation.attention) > 1
    drawn = color and _RULE.encode(encoding, "replace").decode(encoding) == _RULE
    parts = []
    for name, map in generation.attention.items():
        if map.weights.size:
            map = replace(map, axes=tuple(readable(axis, encoding) for axis in map.axes))
            columns, rows = _columns(generation, map), _rows(generation, map, strongest)
            parts.append(table(columns, rows, title=_title(name, map, several), color=drawn, width=width))
    return "\n\n".join(parts)


def _title(name: str, map: AttentionMap, several: bool) -> str:
    positions = math.prod(len(axis) for axis in map.positions)
    shape = " x ".join(str(len(axis)) for axis in map.positions)
    spread = f"{shape} positions; uniform attention would have {math.log2(positions):.2f} bits"
    return f"{name}: {spread}" if several else spread


def _columns(generation: Generation, map: AttentionMap) -> list[str]:
    head = [_head_name(map)] if map.heads > 1 else []
    probability = ["probability"] if _has_probabilities(generation, map) else []
    where = ", ".join(axis.name for axis in map.positions)
    return ["step", map.steps.name, *probability, *head, "bits", *_extras(generation, map), f"strongest ({where})"]


def _rows(generation: Generation, map: AttentionMap, strongest: int) -> list[list[Cell]]:
    entropy = map.entropy()
    rows: list[list[Cell]] = []
    for step, word in enumerate(map.steps.labels):
        for head in range(map.heads):
            row: list[Cell] = [str(step + 1), label(word)] if head == 0 else ["", ""]
            if _has_probabilities(generation, map):
                row.append(f"{math.exp(generation.log_probs[step]):.3f}" if head == 0 else "")
            if map.heads > 1:
                row.append(_head_label(map, head))
            row.append(f"{abs(float(entropy[step, head])):.2f}")
            row.extend(f"{float(generation.extras[name][step]):.3f}" if head == 0 else "" for name in _extras(generation, map))
            row.append(", ".join(_position(map, *cell) for cell in map.strongest(step, strongest, head)))
            rows.append(row)
    return rows


def _position(map: AttentionMap, indices: tuple[int, ...], weight: float) -> str:
    names = [_coordinate(axis, index) for axis, index in zip(map.positions, indices, strict=True)]
    where = f"({', '.join(names)})" if len(names) > 1 else "".join(names)
    return f"{where} {weight:.3f}"


def _coordinate(axis: Axis, index: int) -> str:
    return label(axis.labels[index]) + ("s" if axis.kind == "time" else "")


def _head_axes(map: AttentionMap) -> list[Axis]:
    return [axis for axis in map.axes[1:] if axis.kind in ("hops", "heads")]


def _head_name(map: AttentionMap) -> str:
    return ", ".join(axis.name for axis in _head_axes(map))


def _head_label(map: AttentionMap, head: int) -> str:
    names = []
    for axis in reversed(_head_axes(map)):
        head, index = divmod(head, len(axis))
        names.append(label(axis.labels[index]))
    return ", ".join(reversed(names))


def _has_probabilities(generation: Generation, map: AttentionMap) -> bool:
    return len(generation.log_probs) == len(map.steps)


def _extras(generation: Generation, map: AttentionMap) -> list[str]:
    return [name for name, values in generation.extras.items() if len(values) == len(map.steps)]
