"""The local store: files by their SHA-256, each written once, shared by all models that use it."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from condgen_cli import settings
from condgen_cli.errors import CondgenError, IntegrityError
from condgen_cli.files import write_atomically
from condgen_cli.zoo.fetch import Expected, fetch, storage_errors
from condgen_cli.zoo.locks import leftovers
from condgen_cli.zoo.manifest import File
from condgen_cli.zoo.names import check_contained
from condgen_cli.zoo.safetensors_header import read_header

__all__ = ["Store", "problem_with"]


class Store:
    """Blobs and copies of remote manifests below one folder, which is made when first written to.

    Args:
        root: the folder; None: the one that the settings name, asked for when it is needed, since a machine may have none.
    """

    def __init__(self, root: Path | None = None) -> None:
        self._root = root

    @property
    def root(self) -> Path:
        """The folder. Raises what ``settings.store_folder`` raises."""
        return self._root or settings.store_folder()

    def path(self, file: File) -> Path:
        """Where the file is, or would be.

        Raises:
            IntegrityError: if a link there leads out of the store.
        """
        blobs = self.root / "blobs" / "sha256"
        return check_contained(blobs / file.sha256[:2] / file.sha256, self.root)

    def has(self, file: File) -> bool:
        """Whether a file of the right size is there for this user; its hash is not looked at."""
        try:
            found = self.find(file)
            return found is not None and found.stat().st_size == file.size
        except IntegrityError:
            raise
        except (CondgenError, OSError):  # no store, or one of somebody else
            return False

    def find(self, file: File) -> Path | None:
        """The file, whole or damaged.

        Raises:
            IntegrityError: if a link there leads out of the store.
            CondgenError: if the store is another user's, who has not opened it.
        """
        path = self.path(file)
        with self.read_errors():
            return path if path.is_file() else None

    def problem(self, file: File) -> str:
        """What is wrong with the file that is there, see ``problem_with``. Raises what ``find`` does."""
        path = self.path(file)
        with self.read_errors():
            return problem_with(path, file)

    @contextmanager
    def read_errors(self) -> Iterator[None]:
        """Turn the refusal to read what another user has put into the store into one clear line."""
        try:
            yield
        except PermissionError:
            message = f"the store {self.root} holds files that only another user may read"
            opened = f"chmod -R a+rX {shlex.quote(str(self.root))}"
            hint = f"set CONDGEN_HOME to a folder of your own, or have the other user run: {opened}"
            raise CondgenError(message, hint) from None

    def add(self, file: File, urls: Sequence[str], description: str) -> Path:
        """Download the file unless it is there. Raises what ``fetch`` raises."""
        path = fetch(urls, self.path(file), size=file.size, sha256=file.sha256, description=description)
        if problem := problem_with(path, file):
            path.unlink()
            raise IntegrityError(f"{file.path} from {urls[0]}: {problem}")
        return path

    def remove(self, file: File) -> int:
        """Delete the file and what a broken download left of it; the number of bytes that were freed."""
        path = self.path(file)
        freed = 0
        with storage_errors(path):
            for leftover in (path, *leftovers(path)):
                if leftover.is_file():
                    freed += leftover.stat().st_size
                    leftover.unlink()
        return freed

    def last_manifest(self, url: str) -> bytes | None:
        """A remote manifest as it was last seen; None if it wasn't, or can't be read."""
        try:
            return self._manifest(url).read_bytes()
        except (CondgenError, OSError):
            return None

    def keep_manifest(self, url: str, data: bytes) -> None:
        """Keep a remote manifest for use without network; a store that can't be written to still serves what it has."""
        with suppress(CondgenError, OSError):
            write_atomically(self._manifest(url), data)

    def _manifest(self, url: str) -> Path:
        return self.root / "manifests" / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"


def problem_with(path: Path, file: File) -> str:
    """What is wrong with a local copy of ``file``, as half a sentence: size, hash, safetensors header; empty if all is well."""
    if problem := Expected(file.size, file.sha256).problem(path):
        return problem
    if file.path.endswith(".safetensors"):
        try:
            read_header(path)
        except IntegrityError as error:
            return error.message
    return ""
