"""Entry points of installed distributions, read from their files.

``importlib.metadata`` would make ``condgen --help`` a sixth slower. It also raises if any distribution's file is not UTF-8, and
takes an arbitrary one of two copies that an interrupted upgrade has left. Here a broken installation affects only its own
plugin.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = ["EntryPoint", "discover", "normalize_name"]


class EntryPoint(NamedTuple):
    """One line ``name = value`` of a distribution's entry_points.txt.

    Args:
        name: text left of the equals sign.
        value: text right of it, without extras.
        distribution: normalised name of the distribution.
        version: version of the distribution; empty if unknown.
    """

    name: str
    value: str
    distribution: str
    version: str


def discover(group: str, path: Iterable[str] | None = None) -> list[EntryPoint]:
    """Entry points of a group in the folders of ``path`` (default: ``sys.path``), sorted by name.

    If a distribution is in two folders, the first counts, as for imports; if it is twice in one folder, the newest version,
    since the other is left from an interrupted upgrade.
    """
    seen: set[str] = set()
    found: list[EntryPoint] = []
    for folder in sys.path if path is None else path:
        here: dict[str, list[tuple[str, str]]] = {}
        for metadata in _metadata_folders(folder or os.curdir):
            distribution, version = _identity(metadata)
            here.setdefault(distribution, []).append((version, metadata))
        for distribution, versions in here.items():
            if distribution not in seen:
                seen.add(distribution)
                version, metadata = versions[0] if len(versions) == 1 else _newest(folder, versions)
                lines = _section(os.path.join(folder, metadata, "entry_points.txt"), group)
                found += [EntryPoint(name, value, distribution, version) for name, value in lines]
    return sorted(found, key=lambda entry: (entry.name, entry.distribution))


def normalize_name(name: str) -> str:
    """A distribution's name as pip compares it: ``Some_Name`` is ``some-name``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _metadata_folders(folder: str) -> list[str]:
    try:
        # pip leaves folders starting with ~ behind when it is interrupted
        return sorted(n for n in os.listdir(folder) if n.endswith((".dist-info", ".egg-info")) and not n.startswith("~"))
    except OSError:
        return []


def _identity(metadata: str) -> tuple[str, str]:
    """``Some_Name-1.0.dist-info`` is ("some-name", "1.0")."""
    name, _, rest = metadata.rpartition(".")[0].partition("-")
    return normalize_name(name), rest.partition("-")[0]


def _newest(folder: str, versions: list[tuple[str, str]]) -> tuple[str, str]:
    """The highest version among complete ones; an interrupted upgrade deletes the metadata of the old version first."""
    from packaging.version import InvalidVersion, Version

    def rank(found: tuple[str, str]) -> tuple[bool, bool, Version]:
        version, metadata = found
        whole = any(os.path.isfile(os.path.join(folder, metadata, name)) for name in ("METADATA", "PKG-INFO"))
        try:
            return whole, True, Version(version)
        except InvalidVersion:
            return whole, False, Version("0")

    return max(versions, key=rank)


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
