"""The zoo as the rest of condgen sees it: models by name, their files as verified local paths."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from condgen_cli import __version__, settings
from condgen_cli.errors import CondgenError, IntegrityError, NotFoundError
from condgen_cli.specs import named
from condgen_cli.zoo.fetch import fetch_bytes
from condgen_cli.zoo.manifest import Entry, File
from condgen_cli.zoo.sources import Source, all_sources
from condgen_cli.zoo.store import Store, problem_with

__all__ = ["Check", "State", "Zoo", "open_zoo"]

State = Literal["bundled", "local", "installed", "partial", "remote"]
"""``bundled`` with condgen or a plugin; ``local``: beside its manifest; ``installed`` in the store, wholly or in part."""

LARGEST_CARD = 1024 * 1024


def open_zoo() -> Zoo:
    """The zoo that the settings in force describe. Raises what ``all_sources`` raises."""
    current = settings.current()
    store = Store(current.home)
    return Zoo(all_sources(current, store), store)


@dataclass(frozen=True)
class Check:
    """What ``verify`` found: ``problem`` is empty for a sound file."""

    entry: Entry
    file: File
    path: Path
    problem: str


class Zoo:
    """Models of several manifests; where names clash the earlier manifest wins.

    Args:
        sources: manifests in order of precedence.
        store: where downloads are kept.
    """

    def __init__(self, sources: Iterable[Source], store: Store) -> None:
        self.store = store
        self._names: dict[str, Entry] = {}
        self._sources: dict[str, Source] = {}
        for source in sources:
            for entry in source.manifest.entries:
                if entry.id not in self._names:
                    self._sources[entry.id] = source
                    for name in entry.names:
                        self._names.setdefault(name, entry)

    def entries(self) -> list[Entry]:
        """All models, in the order of their manifests."""
        return [self._names[name] for name in self._sources]

    def entry(self, name: str) -> Entry:
        """The model of an id or alias.

        Raises:
            NotFoundError: with the nearest names.
        """
        entry: Entry = named(self._names, "model", name)
        return entry

    def source(self, entry: Entry) -> Source:
        """Where the entry comes from."""
        return self._sources[entry.id]

    def state(self, entry: Entry) -> State:
        """Where the model's files are; sizes are compared, hashes are not."""
        beside = [self._beside(entry, file) is not None for file in entry.files]
        if all(beside):
            return "bundled" if self.source(entry).installed else "local"
        here = [near or self.store.has(file) for near, file in zip(beside, entry.files, strict=True)]
        return "installed" if all(here) else "partial" if any(here) else "remote"

    def files(self, entry: Entry) -> dict[str, Path]:
        """Local paths of the entry's files by their names, each verified now; what is missing is downloaded.

        A path's own name says nothing: files in the store are named by their hash.

        Raises:
            IntegrityError: if a file is damaged.
            NotFoundError, NetworkError, CondgenError: if one can't be got.
        """
        _check_requirements(entry)
        return {file.path: self._get(entry, file) for file in entry.files}

    def pull(self, entry: Entry) -> dict[str, Path]:
        """As ``files``, but damaged files in the store are downloaded anew."""
        for file in entry.files:
            if self.store.has(file) and problem_with(self.store.path(file), file):
                self.store.remove(file)
        return self.files(entry)

    def remove(self, entry: Entry) -> int:
        """Delete the entry's files from the store, but for those that another installed model uses; the bytes freed."""
        others = [other for other in self.entries() if other.id != entry.id and self.state(other) == "installed"]
        shared = {file.sha256 for other in others for file in other.files}
        return sum(self.store.remove(file) for file in entry.files if file.sha256 not in shared)

    def verify(self, entry: Entry) -> list[Check]:
        """Size, hash and header of every file of the entry that is on this machine."""
        checks = []
        for file in entry.files:
            path = self._present(entry, file)
            if path is not None:
                checks.append(Check(entry, file, path, problem_with(path, file)))
        return checks

    def card(self, entry: Entry) -> str:
        """The model's card, Markdown; empty if it has none."""
        if entry.card is None:
            return ""
        place = self.source(entry).place(entry.card)
        data = fetch_bytes(place, LARGEST_CARD) if isinstance(place, str) else _read(place, entry)
        # a terminal obeys escape sequences
        return re.sub(r"[^\t\n\x20-\x7e\xa0-\U0010ffff]", "", data.decode("utf-8", errors="replace"))

    def _present(self, entry: Entry, file: File) -> Path | None:
        """The local file, whole or damaged."""
        for path in [*self.source(entry).places(file), self.store.path(file)]:
            if path.is_file():
                return path
        return None

    def _beside(self, entry: Entry, file: File) -> Path | None:
        places = self.source(entry).places(file)
        return next((path for path in places if path.is_file() and path.stat().st_size == file.size), None)

    def _get(self, entry: Entry, file: File) -> Path:
        source = self.source(entry)
        damaged = None
        for path in source.places(file):
            if path.is_file():
                problem = problem_with(path, file)
                if not problem:
                    return path
                damaged = IntegrityError(f"{path} is damaged: {problem}", "install it again" if source.installed else None)
        blob = self.store.path(file)
        if blob.is_file():
            if problem := problem_with(blob, file):
                raise IntegrityError(f"{file.path} of {entry.id} is damaged: {problem}", f"condgen pull {entry.id}")
            return blob
        urls = source.urls(file)
        if not urls:
            raise damaged or NotFoundError(f"{file.path} of {entry.id} is missing beside the manifest {source.name}")
        return self.store.add(file, urls, f"{entry.id} {file.path}")


def _read(path: Path, entry: Entry) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_CARD)
    except OSError:
        raise NotFoundError(f"the card of {entry.id} is missing: {path}") from None


def _check_requirements(entry: Entry) -> None:
    needed = entry.requires.condgen
    if _version(needed) > _version(__version__):
        raise CondgenError(f"{entry.id} needs condgen {needed}; this is {__version__}", "pip install --upgrade condgen")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.match(r"[0-9.]*[0-9]", text)[0].split("."))  # type: ignore[index]
