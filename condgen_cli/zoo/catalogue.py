"""The zoo: models by name, and their files as verified local paths."""

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
from condgen_cli.files.fetch import fetch_bytes
from condgen_cli.specs import look_up
from condgen_cli.terminal import console
from condgen_cli.zoo.elsewhere import parse_name
from condgen_cli.zoo.manifest import Entry, File, Manifest
from condgen_cli.zoo.pinned import Pinned
from condgen_cli.zoo.recipes import LARGEST, TrainingRecipe, parse_training_recipe
from condgen_cli.zoo.sources import ANSWER_SECONDS, Source, UnreadSource, all_sources
from condgen_cli.zoo.store import Store, problem_with

__all__ = ["Check", "State", "Zoo", "open_zoo"]

State = Literal["bundled", "local", "installed", "partial", "remote"]
"""Where a model's files are: ``bundled`` with condgen; ``local``: beside a plugin's or the user's manifest; all (``installed``)
or some of them (``partial``) in the store; ``remote``: only on a server."""

LARGEST_CARD = 1024 * 1024
MOST_SECONDS = 4 * ANSWER_SECONDS
"""Maximum seconds to wait for remote manifests, with any protocol."""


def open_zoo() -> Zoo:
    """The zoo of the current settings; it is shared within a command, so that each server is asked once.

    Raises:
        UsageError: if the settings are invalid.
    """
    current, shared = settings.current(), settings.command_cache()
    zoo = shared.get(current)
    if not isinstance(zoo, Zoo):
        store = Store(current.home)
        zoo = shared[current] = Zoo(all_sources(current, store), store)
    return zoo


@dataclass(frozen=True)
class Check:
    """The result of ``Zoo.verify`` for a file: ``problem`` is empty if the file is correct."""

    entry: Entry
    file: File
    path: Path
    problem: str


class _Slot:
    """A manifest at its place in the order of precedence, read once, when it is needed."""

    def __init__(self, given: Source | UnreadSource) -> None:
        self.name = given.name
        self.origin = given.origin
        self.source = given if isinstance(given, Source) else None
        self.remote = isinstance(given, UnreadSource) and given.remote
        self.error: CondgenError | None = None
        self._unread = given if isinstance(given, UnreadSource) else None
        self._last_seen: Source | None = None

    def read(self) -> None:
        """Read the manifest into ``source``, or set ``error``; for a plugin's zoo, an error is only a warning."""
        if self.source is None and self.error is None and self._unread is not None:
            try:
                self.source = self._unread.read(False)
            except CondgenError as error:
                self.fail(error)
            except Exception as error:  # in another thread, an exception would be lost
                self.fail(IntegrityError(f"the zoo {self.name} can't be read: {type(error).__name__}: {error}"))

    def fail(self, error: CondgenError) -> None:
        """Record an error; for a plugin's zoo, print a warning."""
        self.error = error
        if self.origin == "plugin":
            console.warn(f"the zoo {self.name} can't be used: {error.message}")

    def at_hand(self) -> Source | None:
        """The source as far as it is known without network: for a remote one that wasn't read, its last copy."""
        if self.source is None and self._last_seen is None and self._unread is not None:
            with suppress(CondgenError):
                self._last_seen = self._unread.read(True)
        return self.source or self._last_seen


class Zoo:
    """Models of several manifests. If an id or alias is in several, the earlier manifest takes precedence.

    A manifest is only read if no earlier one has the requested name, so that a bundled model needs no server of a plugin.

    Args:
        sources: manifests in order of precedence.
        store: store of downloaded files.
    """

    def __init__(self, sources: Iterable[Source | UnreadSource], store: Store) -> None:
        self.store = store
        self._pinned = Pinned(store)
        self._slots = [_Slot(source) for source in sources]
        self._source: dict[str, Source] = {}
        self._warned: set[str] = set()

    def entries(self) -> list[Entry]:
        """All models, in the order of their manifests, without those whose id is taken by an earlier manifest.

        Raises:
            CondgenError: if a manifest can't be read; for a plugin's there is only a warning.
        """
        _read_together(self._slots)
        self._raise_first()
        return [*_entries(self._by_name(slot.source for slot in self._slots)), *self._elsewhere()]

    def entries_at_hand(self) -> list[Entry]:
        """The models that are known without network, without manifests that can't be read."""
        return [*_entries(self._by_name(slot.at_hand() for slot in self._slots)), *self._elsewhere()]

    def entry(self, name: str) -> Entry:
        """The model with an id or alias, or one from elsewhere that was pulled, ``SCHEME:MODEL``.

        Warns if a zoo of the user's hides a model of condgen or a plugin, and if one of the user's zoos can't be read.

        Raises:
            NotFoundError: if there is none; the hint suggests similar names.
            CondgenError: if no zoo has it, and one of the user's can't be read.
        """
        if parse_name(name).scheme:
            pinned = self._pinned.find(name)
            if pinned is None:
                raise NotFoundError(f"{name} is not on this machine", f"condgen pull {name}")
            return self._from_elsewhere(pinned)
        known: dict[str, Entry] = {}
        # consecutive servers are asked in parallel
        for _, group in groupby(enumerate(self._slots), lambda pair: -1 if pair[1].remote else pair[0]):
            _read_together([slot for _, slot in group])
            known = self._by_name(slot.source for slot in self._slots)
            if name in known:
                self._tell(name, self._source[known[name].id])
                return known[name]
        self._raise_first()
        entry: Entry = look_up(known, "model", name)
        return entry

    def obtain(self, name: str, again: bool = False) -> Entry:
        """As ``entry``; a model from elsewhere that isn't on this machine is downloaded, and its revision pinned.

        Args:
            name: id or alias, or ``SCHEME:MODEL[@REVISION]``.
            again: whether the source is asked once more what the name means, unless the network is off.
        Raises:
            NetworkError, NotFoundError, UsageError: if it can't be downloaded, see ``Pinned.pull``.
        """
        if not parse_name(name).scheme:
            return self.entry(name)
        pinned = self._pinned.find(name)
        if pinned is None or (again and not settings.current().offline):
            pinned = self._pinned.pull(name)
        return self._from_elsewhere(pinned)

    def _elsewhere(self) -> list[Entry]:
        return [self._from_elsewhere(entry) for entry in self._pinned.entries()]

    def _from_elsewhere(self, entry: Entry) -> Entry:
        folder = self.store.root / "elsewhere"
        scheme = entry.id.partition(":")[0]
        self._source[entry.id] = Source(scheme, Manifest.model_construct(version=1, entries=(entry,)), folder, "elsewhere")
        return entry

    def source(self, entry: Entry) -> Source:
        """The source of an entry of this zoo."""
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
        """Warn of a name that may not be the model that the user expects, once."""
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
        """Where the model's files are; sizes are checked, hashes are not."""
        beside = [self._beside(entry, file) is not None for file in entry.files]
        if all(beside):
            return "bundled" if self.source(entry).origin == "bundled" else "local"
        here = [near or self.store.has(file) for near, file in zip(beside, entry.files, strict=True)]
        return "installed" if all(here) else "partial" if any(here) else "remote"

    def files(self, entry: Entry) -> dict[str, Path]:
        """Local paths of the entry's files by name. Each is verified; missing files are downloaded.

        Files in the store are named by their hash.

        Raises:
            IntegrityError: if a file is damaged.
            NotFoundError, NetworkError, CondgenError: if a file can't be downloaded.
        """
        _check_requirements(entry)
        return {file.path: self._get(entry, file) for file in entry.files}

    def pull(self, entry: Entry) -> dict[str, Path]:
        """As ``files``, but damaged files in the store are downloaded again."""
        for file in entry.files:
            if self.store.find(file) and self.store.problem(file):
                self.store.remove(file)
        return self.files(entry)

    def remove(self, entry: Entry) -> int:
        """Delete the entry's files from the store, except those of other installed models; return the number of bytes freed."""
        others = [other for other in self.entries_at_hand() if other.id != entry.id and self.state(other) == "installed"]
        shared = {file.sha256 for other in others for file in other.files}
        freed = sum(self.store.remove(file) for file in entry.files if file.sha256 not in shared)
        if self.source(entry).origin == "elsewhere":
            self._pinned.forget(entry)
        return freed

    def verify(self, entry: Entry) -> list[Check]:
        """Check size, hash and header of the entry's files on this machine, including its recipe."""
        checks = []
        for file in entry.all_files:
            path = self._present(entry, file)
            if path is not None:
                with self.store.read_errors():
                    checks.append(Check(entry, file, path, problem_with(path, file)))
        return checks

    def card(self, entry: Entry) -> str:
        """The model's card in Markdown; empty if it has none."""
        if entry.card is None:
            return ""
        place = self.source(entry).place(entry.card)
        data = fetch_bytes(place, LARGEST_CARD, ANSWER_SECONDS, 1) if isinstance(place, str) else _read(place, entry)
        # without control characters: a terminal would interpret escape sequences
        return re.sub(r"[^\t\n\x20-\x7e\xa0-\U0010ffff]", "", data.decode("utf-8", errors="replace"))

    def recipe(self, entry: Entry) -> TrainingRecipe:
        """The recipe that the model was trained by.

        Raises:
            NotFoundError: if the zoo has none.
            IntegrityError: if it is damaged or malformed.
            NetworkError: if it is remote and can't be downloaded.
        """
        file = entry.recipe
        if file is None:
            raise NotFoundError(f"the zoo has no recipe of {entry.id}", f"condgen show {entry.id}")
        data = self._small_file(entry, file)
        if len(data) != file.size or hashlib.sha256(data).hexdigest() != file.sha256:
            raise IntegrityError(f"the recipe of {entry.id} is damaged: its size or hash differs from the manifest's")
        return parse_training_recipe(data, f"the recipe of {entry.id}")

    def _small_file(self, entry: Entry, file: File) -> bytes:
        """The content of a small file, which isn't stored, from beside the manifest or from the network."""
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
        """The local file, complete or damaged; None if there is none."""
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
        if source.origin == "elsewhere":
            return self._pinned.restore(entry, file)
        urls = source.urls(file)
        if not urls:
            raise damaged or NotFoundError(f"{file.path} of {entry.id} is missing beside the manifest {source.name}")
        return self.store.add(file, urls, f"{entry.id} {file.path}")


def _whose(source: Source) -> str:
    return "condgen" if source.origin == "bundled" else source.name


def _entries(known: Mapping[str, Entry]) -> list[Entry]:
    """The distinct models in a dictionary by id and alias."""
    return [entry for name, entry in known.items() if name == entry.id]


def _read_together(slots: Sequence[_Slot]) -> None:
    """Read manifests, remote ones in parallel, since each may take seconds to fail, and with a common time limit."""
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
