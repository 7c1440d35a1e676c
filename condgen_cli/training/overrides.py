"""Settings given as text, ``key.path=value``, as on the command line."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from typing import Any

from condgen_cli.data.store import option_value
from condgen_cli.errors import UsageError

__all__ = ["apply_override", "check_plain", "parse_override"]

DATA_OPTIONS = ("data", "options")
"""The section of a data set's options, which are strings, as in ``--set``."""
EXAMPLE = "for instance: training.epochs=20"


def parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """Parse ``key.path=value`` into the key path and the value.

    The value is parsed as TOML if possible and is the text itself otherwise. An empty value or ``null`` gives None, which
    unsets the key. Options of a data set are parsed as ``--set`` parses them.

    Raises:
        UsageError: if there is no ``=`` or the key is not a TOML key.
    """
    key, separator, value = text.partition("=")
    if not separator:
        raise UsageError(f"{text!r} is not of the form key.path=value", EXAMPLE)
    path = _parse_key(key)
    if path[:-1] == DATA_OPTIONS:
        return path, option_value(value)
    return path, _parse_value(value.strip())


def apply_override(values: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set a value in nested settings, or delete it if it is None.

    Raises:
        UsageError: if the path leads through a setting that is not a section.
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
    """Make sure that settings hold only values that JSON can represent, so that a saved recipe is read back unchanged.

    Raises:
        UsageError: for other values, such as dates and infinities.
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
