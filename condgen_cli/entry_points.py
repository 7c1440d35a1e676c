"""Entry points of installed distributions, read without importlib.metadata, which costs a third of `condgen --help`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = ["EntryPoint", "discover"]


class EntryPoint(NamedTuple):
    """One line ``name = value`` of a distribution's entry_points.txt.

    Args:
        name: left of the equals sign.
        value: right of it, extras cut off.
        distribution: normalised name of the distribution.
        version: of the distribution; empty where its folder doesn't tell.
    """

    name: str
    value: str
    distribution: str
    version: str


def discover(group: str, path: Iterable[str] | None = None) -> list[EntryPoint]:
    """Entry points of a group in the folders of ``path`` (default: ``sys.path``), by name.

    Of a distribution found twice the first counts, as it does for imports.
    """
    seen: set[str] = set()
    found: list[EntryPoint] = []
    for folder in sys.path if path is None else path:
        for metadata in _metadata_folders(folder or os.curdir):
            distribution, version = _identity(metadata)
            if distribution not in seen:
                seen.add(distribution)
                lines = _section(os.path.join(folder, metadata, "entry_points.txt"), group)
                found += [EntryPoint(name, value, distribution, version) for name, value in lines]
    return sorted(found, key=lambda entry: (entry.name, entry.distribution))


def _metadata_folders(folder: str) -> list[str]:
    try:
        # pip leaves folders starting with ~ behind when it is interrupted
        return sorted(n for n in os.listdir(folder) if n.endswith((".dist-info", ".egg-info")) and not n.startswith("~"))
    except OSError:
        return []


def _identity(metadata: str) -> tuple[str, str]:
    """``Some_Name-1.0.dist-info`` is ("some-name", "1.0")."""
    name, _, rest = metadata.rpartition(".")[0].partition("-")
    return re.sub(r"[-_.]+", "-", name).lower(), rest.partition("-")[0]


def _section(file: str, group: str) -> Iterator[tuple[str, str]]:
    try:
        with open(file, encoding="utf-8", errors="replace") as lines:
            text = lines.read()
    except OSError:
        return
    inside = False
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            inside = line == f"[{group}]"
        elif inside and "=" in line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            yield name.strip(), value.partition("[")[0].strip()
