"""Settings given as text, ``key.path=value``, and the one way that a value is read from it."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from typing import Any

from condgen_cli.data.store import option_value
from condgen_cli.errors import UsageError

__all__ = ["apply_override", "check_plain", "parse_override"]

DATA_OPTIONS = ("data", "options")
"""The section that ``--set`` gives, whose values are texts."""
EXAMPLE = "for instance: training.epochs=20"


def parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """Split ``key.path=value`` into the path and the value.

    The value is a TOML value where it is one, the bare text otherwise; None, which unsets the key, where it is empty or
    ``null``. Those of a data set's options are read as ``--set`` reads them.

    Raises:
        UsageError: if there is no ``=`` or the key isn't a TOML key.
    """
    key, separator, value = text.partition("=")
    if not separator:
        raise UsageError(f"{text!r} is not of the form key.path=value", EXAMPLE)
    path = _parse_key(key)
    if path[:-1] == DATA_OPTIONS:
        return path, option_value(value)
    return path, _parse_value(value.strip())


def apply_override(values: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set a value in nested settings, or take it out if it is None.

    Raises:
        UsageError: if the path leads through what is no section.
    """
    for depth, name in enumerate(path[:-1], 1):
        if value is None and name not in values:
            return
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise UsageError(f"{'.'.join(path[:depth])} is not a section, so {'.'.join(path)} can't be set")
    if value is None:
        values.pop(path[-1], None)
    else:
        values[path[-1]] = value


def check_plain(value: Any, source: str, path: tuple[str, ...] = ()) -> None:
    """Make sure that settings hold only what JSON can hold too, so that the resolved recipe reads back the same.

    Raises:
        UsageError: for a date, an infinity or the like.
    """
    if isinstance(value, Mapping):
        for name, part in value.items():
            check_plain(part, source, (*path, name))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            check_plain(part, source, (*path, str(index)))
    elif not (value is None or isinstance(value, str | int | float)) or value in (math.inf, -math.inf) or value != value:
        reason = f"{source}: {'.'.join(path)}: {value} can't be used in a recipe"
        raise UsageError(reason, "put it in quotes to make it a string")


def _parse_key(key: str) -> tuple[str, ...]:
    try:
        node: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        node = {}
    path = []
    while isinstance(node, dict) and len(node) == 1:
        name, node = next(iter(node.items()))
        path.append(name)
    if node != 0:
        raise UsageError(f"{key.strip()!r} is not a key path", EXAMPLE)
    return tuple(path)


def _parse_value(text: str) -> Any:
    if text in ("", "null"):
        return None
    try:
        parsed = tomllib.loads(f"value = {text}")
        if parsed.keys() == {"value"}:
            check_plain(parsed, "")
            return parsed["value"]
    except (tomllib.TOMLDecodeError, UsageError, RecursionError):
        pass
    return text
