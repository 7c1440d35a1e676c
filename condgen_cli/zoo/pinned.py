"""Models from elsewhere that were downloaded: their files lie in the store by hash, and an entry for each pins its revision."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from condgen_cli import settings
from condgen_cli.errors import CondgenError, IntegrityError, NetworkError
from condgen_cli.files import write_atomically
from condgen_cli.files.fetch import storage_errors
from condgen_cli.terminal.printable import printable
from condgen_cli.zoo.elsewhere import ModelSource, Resolved, find_source, parse_name
from condgen_cli.zoo.manifest import Architecture, Entry, File, Line
from condgen_cli.zoo.store import Store, problem_with

__all__ = ["Pinned", "PinnedEntry"]

UNKNOWN_LICENCE = "not stated"


class PinnedEntry(Entry):
    """The entry of a model from elsewhere; its id is the name by which the user called it, with scheme."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]+:[A-Za-z0-9][A-Za-z0-9._/-]*(@[A-Za-z0-9._/-]+)?$", max_length=300)]


class _Record(BaseModel):
    """The file of a pinned model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = 1
    resolved: tuple[Line, Line]
    entry: PinnedEntry


class Pinned:
    """The models from elsewhere in a store.

    Args:
        store: the store, whose folder ``elsewhere`` holds a record of each model.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def entries(self) -> list[PinnedEntry]:
        """All models, by name; a record that can't be read is left out."""
        return sorted((record.entry for record in self._records()), key=lambda entry: entry.id)

    def find(self, name: str) -> PinnedEntry | None:
        """The model with a name ``SCHEME:MODEL[@REVISION]``; None if it was never downloaded.

        Raises:
            IntegrityError: if its record is malformed.
        """
        path = self._path(name)
        try:
            data = path.read_bytes()
        except (CondgenError, OSError):
            return None
        try:
            return _Record.model_validate_json(data).entry
        except ValidationError:
            raise IntegrityError(f"the record of {name} in the store is damaged", f"condgen pull {name}") from None

    def pull(self, name: str) -> PinnedEntry:
        """Download the model that the name means at present, and pin its revision.

        Raises:
            NetworkError: if the network is off or can't be reached.
            NotFoundError: if there is no such model.
            UsageError: if its weights can't be read safely, or no plugin knows its architecture.
            CondgenError: if the store can't be written.
        """
        if settings.current().offline:
            raise NetworkError(f"{name} is not on this machine, and the network is off", f"condgen pull {name}")
        parsed = parse_name(name)
        source = find_source(parsed.scheme)
        resolved = source.resolve(parsed.model)
        files: dict[str, File] = {}
        here: dict[str, Path] = {}
        entry: PinnedEntry | None = None
        wanted = source.select(resolved.files)
        # the small files come first: what can't be run is refused before gigabytes are downloaded
        for file in sorted(wanted, key=lambda one: one.endswith(".safetensors")):
            if file.endswith(".safetensors") and entry is None:
                entry = _entry(name, source, resolved, here)
            path = source.fetch(resolved, file)
            files[file] = _file(file, path)
            here[file] = self._adopt(files[file], path)
        entry = (entry or _entry(name, source, resolved, here)).model_copy(update={"files": tuple(files.values())})
        record = _Record(resolved=(resolved.model, resolved.revision), entry=entry)
        with storage_errors(self._path(name)):
            write_atomically(self._path(name), record.model_dump_json(indent=2, exclude_defaults=True).encode())
        return entry

    def restore(self, entry: Entry, file: File) -> Path:
        """Download a missing file of a pinned model again.

        Raises:
            IntegrityError: if the server now has another file.
            NetworkError, NotFoundError: if it can't be downloaded.
        """
        if settings.current().offline:
            raise NetworkError(f"{file.path} of {entry.id} is not on this machine, and the network is off", None)
        model, revision = next(one.resolved for one in self._records() if one.entry.id == entry.id)
        source, resolved = find_source(parse_name(entry.id).scheme), Resolved(model, revision, ())
        try:
            return self._adopt(file, source.fetch(resolved, file.path))
        except IntegrityError:  # the source's cache may be one file with what was damaged here
            return self._adopt(file, source.fetch(resolved, file.path, again=True))

    def forget(self, entry: Entry) -> None:
        """Delete the record of a model."""
        with storage_errors(self._path(entry.id)):
            self._path(entry.id).unlink(missing_ok=True)

    def _adopt(self, file: File, path: Path) -> Path:
        """The file in the store: a hard link to the source's own copy where the file system has them, else a copy."""
        target = self.store.path(file)
        if self.store.has(file) and not self.store.problem(file):
            return target
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f"{target.name}.{os.getpid()}.part")
            with suppress(FileNotFoundError):
                partial.unlink()
            try:
                os.link(path.resolve(), partial)
            except OSError:
                shutil.copyfile(path, partial)
            if problem := problem_with(partial, file):
                partial.unlink()
                raise IntegrityError(f"{file.path}: {problem}")
            partial.replace(target)
        return target

    def _path(self, name: str) -> Path:
        return self.store.root / "elsewhere" / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"

    def _records(self) -> Iterator[_Record]:
        with suppress(CondgenError, OSError):
            for path in sorted((self.store.root / "elsewhere").glob("*.json")):
                with suppress(ValidationError, OSError):
                    yield _Record.model_validate_json(path.read_bytes())


def _file(name: str, path: Path) -> File:
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return File(path=name, urls=(name,), size=path.stat().st_size, sha256=digest)


def _entry(name: str, source: ModelSource, resolved: Resolved, files: dict[str, Path]) -> PinnedEntry:
    found = source.describe(files)
    try:
        return PinnedEntry(
            id=name,
            task=found.task,
            description=printable(found.description)[:2000],
            licence=printable(found.licence)[:2000] or UNKNOWN_LICENCE,
            revision=resolved.revision,
            architecture=Architecture(name=found.architecture, config=dict(found.config)),
            decoding=dict(found.decoding),
        )
    except ValidationError as error:
        raise IntegrityError(f"{name}: {error.errors()[0]['msg']}") from None
