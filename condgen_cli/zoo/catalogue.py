"""The zoo as the rest of condgen sees it: models by name, their files as verified local paths."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from time import monotonic
from typing import Literal

from condgen_cli import __version__, settings
from condgen_cli.errors import CondgenError, IntegrityError, NetworkError, NotFoundError
from condgen_cli.specs import named
from condgen_cli.terminal import console
from condgen_cli.zoo.fetch import fetch_bytes
from condgen_cli.zoo.manifest import Entry, File
from condgen_cli.zoo.recipes import LARGEST, TrainingRecipe, parse_training_recipe
from condgen_cli.zoo.sources import ANSWER_SECONDS, Source, UnreadSource, all_sources
from condgen_cli.zoo.store import Store, problem_with

__all__ = ["Check", "State", "Zoo", "open_zoo"]

State = Literal["bundled", "local", "installed", "partial", "remote"]
"""``bundled`` with condgen; ``local``: beside a plugin's or the user's manifest; ``installed``, ``partial``: in the store."""

LARGEST_CARD = 1024 * 1024
MOST_SECONDS = 4 * ANSWER_SECONDS
"""That remote manifests may take, however they are read."""


def open_zoo() -> Zoo:
    """The zoo that the settings in force describe; one command line has one, so that it asks each server once.

    Raises:
        UsageError: if the settings can't be understood.
    """
    current, shared = settings.current(), settings.shared()
    zoo = shared.get(current)
    if not isinstance(zoo, Zoo):
        store = Store(current.home)
        zoo = shared[current] = Zoo(all_sources(current, store), store)
    return zoo


@dataclass(frozen=True)
class Check:
    """What ``verify`` found: ``problem`` is empty for a sound file."""

    entry: Entry
    file: File
    path: Path
    problem: str


class _Slot:
    """A manifest in its place, read once, when it is asked for."""

    def __init__(self, given: Source | UnreadSource) -> None:
        self.name = given.name
        self.origin = given.origin
        self.source = given if isinstance(given, Source) else None
        self.remote = isinstance(given, UnreadSource) and given.remote
        self.error: CondgenError | None = None
        self._unread = given if isinstance(given, UnreadSource) else None
        self._last_seen: Source | None = None

    def read(self) -> None:
        """Fill ``source``, or else ``error``; what a plugin's zoo costs is a warning."""
        if self.source is None and self.error is None and self._unread is not None:
            try:
                self.source = self._unread.read(False)
            except CondgenError as error:
                self.fail(error)
            except Exception as error:  # it may be another thread's work, where an exception would be lost
                self.fail(IntegrityError(f"the zoo {self.name} can't be read: {type(error).__name__}: {error}"))

    def fail(self, error: CondgenError) -> None:
        """Do without it; a plugin's zoo costs a warning."""
        self.error = error
        if self.origin == "plugin":
            console.warn(f"the zoo {self.name} can't be used: {error.message}")

    def at_hand(self) -> Source | None:
        """The source if no network is needed for it: of a remote one that wasn't read, what was last seen."""
        if self.source is None and self._last_seen is None and self._unread is not None:
            with suppress(CondgenError):
                self._last_seen = self._unread.read(True)
        return self.source or self._last_seen


class Zoo:
    """Models of several manifests; where names clash, be they ids or aliases, the earlier manifest wins.

    A manifest is read when no earlier one has the name that is looked for: a bundled model needs no server of a plugin's.

    Args:
        sources: manifests in order of precedence.
        store: where downloads are kept.
    """

    def __init__(self, sources: Iterable[Source | UnreadSource], store: Store) -> None:
        self.store = store
        self._slots = [_Slot(source) for source in sources]
        self._source: dict[str, Source] = {}
        self._warned: set[str] = set()

    def entries(self) -> list[Entry]:
        """All models, in the order of their manifests, but for those whose id an earlier manifest has taken.

        Raises:
            CondgenError: if a manifest can't be read; a plugin's costs a warning.
        """
        _read_together(self._slots)
        self._raise_first()
        return _entries(self._by_name(slot.source for slot in self._slots))

    def entries_at_hand(self) -> list[Entry]:
        """The models that are known without network; manifests that can't be read are left out."""
        return _entries(self._by_name(slot.at_hand() for slot in self._slots))

    def entry(self, name: str) -> Entry:
        """The model of an id or alias.

        It is told if a zoo of the user's has it in place of condgen's or a plugin's, and if one of the user's can't be read.

        Raises:
            NotFoundError: with the nearest names.
            CondgenError: if no zoo has it, and one of the user's can't be read.
        """
        known: dict[str, Entry] = {}
        # servers that follow one another are asked together
        for _, group in groupby(enumerate(self._slots), lambda pair: -1 if pair[1].remote else pair[0]):
            _read_together([slot for _, slot in group])
            known = self._by_name(slot.source for slot in self._slots)
            if name in known:
                self._tell(name, self._source[known[name].id])
                return known[name]
        self._raise_first()
        entry: Entry = named(known, "model", name)
        return entry

    def source(self, entry: Entry) -> Source:
        """Where an entry of this zoo comes from."""
        return self._source[entry.id if entry.id in self._source else self.entry(entry.id).id]

    def _by_name(self, sources: Iterable[Source | None]) -> dict[str, Entry]:
        """The models by id and alias."""
        found: dict[str, Entry] = {}
        for source in filter(None, sources):
            for entry in source.manifest.entries:
                if entry.id not in found:
                    self._source[entry.id] = source
                    for name in entry.names:
                        found.setdefault(name, entry)
        return found

    def _raise_first(self) -> None:
        for slot in self._slots:
            if slot.error and slot.origin != "plugin":
                raise slot.error

    def _tell(self, name: str, source: Source) -> None:
        """Say what somebody might not expect of a name, once."""
        if name in self._warned:
            return
        self._warned.add(name)
        for slot in self._slots:
            if slot.error and slot.origin == "user":
                console.warn(f"{slot.error.message}; {name} is the model of {_whose(source)}")
        if source.origin == "user":
            others = (slot for slot in self._slots if slot.origin != "user")
            hidden = next((found for slot in others if (found := slot.at_hand()) and name in found.names), None)
            if hidden:
                console.warn(f"{name} is the model of {_whose(source)}, in place of that of {_whose(hidden)}")

    def state(self, entry: Entry) -> State:
        """Where the model's files are; sizes are compared, hashes are not."""
        beside = [self._beside(entry, file) is not None for file in entry.files]
        if all(beside):
            return "bundled" if self.source(entry).origin == "bundled" else "local"
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
            if self.store.has(file) and self.store.problem(file):
                self.store.remove(file)
        return self.files(entry)

    def remove(self, entry: Entry) -> int:
        """Delete the entry's files from the store, but for those that another installed model uses; the bytes freed."""
        others = [other for other in self.entries_at_hand() if other.id != entry.id and self.state(other) == "installed"]
        shared = {file.sha256 for other in others for file in other.files}
        return sum(self.store.remove(file) for file in entry.files if file.sha256 not in shared)

    def verify(self, entry: Entry) -> list[Check]:
        """Size, hash and header of every file of the entry that is on this machine, its recipe among them."""
        checks = []
        for file in entry.all_files:
            path = self._present(entry, file)
            if path is not None:
                with self.store.read_errors():
                    checks.append(Check(entry, file, path, problem_with(path, file)))
        return checks

    def card(self, entry: Entry) -> str:
        """The model's card, Markdown; empty if it has none."""
        if entry.card is None:
            return ""
        place = self.source(entry).place(entry.card)
        data = fetch_bytes(place, LARGEST_CARD, ANSWER_SECONDS, 1) if isinstance(place, str) else _read(place, entry)
        # a terminal obeys escape sequences
        return re.sub(r"[^\t\n\x20-\x7e\xa0-\U0010ffff]", "", data.decode("utf-8", errors="replace"))

    def recipe(self, entry: Entry) -> TrainingRecipe:
        """The recipe that made the model.

        Raises:
            NotFoundError: if the zoo keeps none.
            IntegrityError: if it is damaged or malformed.
            NetworkError: if it is elsewhere and can't be fetched.
        """
        file = entry.recipe
        if file is None:
            raise NotFoundError(f"the zoo keeps no recipe of {entry.id}", f"condgen show {entry.id}")
        data = self._small_file(entry, file)
        if len(data) != file.size or hashlib.sha256(data).hexdigest() != file.sha256:
            raise IntegrityError(f"the recipe of {entry.id} is damaged: its size or hash differs from the manifest's")
        return parse_training_recipe(data, f"the recipe of {entry.id}")

    def _small_file(self, entry: Entry, file: File) -> bytes:
        """A file that is read anew each time it is asked for, from beside the manifest or from the network."""
        source = self.source(entry)
        for path in source.places(file):
            if path.is_file():
                with path.open("rb") as opened:
                    return opened.read(LARGEST)
        urls = source.urls(file)
        if not urls:
            raise NotFoundError(f"{file.path} of {entry.id} is missing beside the manifest {source.name}")
        return fetch_bytes(urls[0], LARGEST, ANSWER_SECONDS, 1)

    def _present(self, entry: Entry, file: File) -> Path | None:
        """The local file, whole or damaged."""
        beside = (path for path in self.source(entry).places(file) if path.is_file())
        return next(beside, None) or self.store.find(file)

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
                damaged = IntegrityError(f"{path} is damaged: {problem}", "install it again" if source.is_installed else None)
        if blob := self.store.find(file):
            if problem := self.store.problem(file):
                raise IntegrityError(f"{file.path} of {entry.id} is damaged: {problem}", f"condgen pull {entry.id}")
            return blob
        urls = source.urls(file)
        if not urls:
            raise damaged or NotFoundError(f"{file.path} of {entry.id} is missing beside the manifest {source.name}")
        return self.store.add(file, urls, f"{entry.id} {file.path}")


def _whose(source: Source) -> str:
    return "condgen" if source.origin == "bundled" else source.name


def _entries(known: Mapping[str, Entry]) -> list[Entry]:
    """The distinct models among those by id and alias."""
    return [entry for name, entry in known.items() if name == entry.id]


def _read_together(slots: Sequence[_Slot]) -> None:
    """Read manifests, remote ones at the same time: each may take seconds to fail, and no protocol may take longer."""
    asked = [slot for slot in slots if slot.remote]
    threads = [threading.Thread(target=copy_context().run, args=(slot.read,), daemon=True) for slot in asked]
    for thread in threads:
        thread.start()
    for slot in slots:
        if not slot.remote:
            slot.read()
    deadline = monotonic() + MOST_SECONDS
    for slot, thread in zip(asked, threads, strict=True):
        thread.join(max(0.0, deadline - monotonic()))
        if thread.is_alive():
            slot.fail(NetworkError(f"{slot.name}: no answer within {MOST_SECONDS:.0f} seconds", "try again later"))


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
