"""Batches, memories and states as arrays with names, in which graphs take and return them.

The name of an array is the path to it: fields of (named) tuples and data classes and keys of mappings, joined by dots. A field
that holds no array, such as labels, has no name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from condgen_cli.arrays import Array, same_kind
from condgen_cli.contract import Memory
from condgen_cli.running.randomness import ConvertibleArray

__all__ = ["flatten", "memory_arrays", "rebuild"]


def flatten(value: Any, name: str) -> dict[str, Array]:
    """The arrays of a structure by name; that of an array itself is ``name``."""
    if value is None or isinstance(value, str | int | float):  # asked first, as the next question takes longer
        return {}
    if isinstance(value, ConvertibleArray):
        return {name: value}
    found: dict[str, Array] = {}
    for key, part in _parts(value):
        found |= flatten(part, f"{name}.{key}")
    return found


def memory_arrays(memory: Memory) -> dict[str, Array]:
    """The arrays of a memory by name, as ``flatten(memory, "memory")`` gives them, without a look at its labels."""
    own = {"values": memory.values, "keys": memory.keys, "mask": memory.mask, "vector": memory.vector}
    named = {f"memory.{name}": array for name, array in own.items() if array is not None}
    return named | {f"memory.auxiliary.{name}": array for name, array in memory.auxiliary.items()}


def rebuild(value: Any, arrays: Mapping[str, Array], name: str) -> Any:
    """The structure with its arrays replaced by those of the same names."""
    if isinstance(value, ConvertibleArray):
        return arrays[name]
    changed = {key: rebuild(part, arrays, f"{name}.{key}") for key, part in _parts(value)}
    if not changed:
        return value
    if isinstance(value, Mapping):
        return changed
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **changed)
    return same_kind(value, list(changed.values()))


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif is_dataclass(value) and not isinstance(value, type):
        yield from ((field.name, getattr(value, field.name)) for field in fields(value) if field.init)
    elif isinstance(value, tuple | list):
        names = value._fields if isinstance(value, tuple) and hasattr(value, "_fields") else range(len(value))
        yield from ((str(key), part) for key, part in zip(names, value, strict=True))
