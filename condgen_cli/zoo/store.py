"""The local store: files by their SHA-256, each stored once and shared by all models that use it."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from condgen_cli import settings
from condgen_cli.errors import CondgenError, IntegrityError
from condgen_cli.files import write_atomically
from condgen_cli.files.fetch import Expected, fetch, storage_errors
from condgen_cli.files.locks import leftovers
from condgen_cli.files.names import check_contained
from condgen_cli.files.onnx_header import read_graph
from condgen_cli.files.safetensors_header import read_header
from condgen_cli.zoo.manifest import File

__all__ = ["Store", "problem_with"]


class Store:
    """Files and copies of remote manifests in a folder, which is created when it is first written to.

    Args:
        root: the folder; None: that of the settings, determined when it is needed, since a machine may have none.
    """

    def __init__(self, root: Path | None = None) -> None:
        self._root = root

    @property
    def root(self) -> Path:
        """The folder. Errors are those of ``settings.store_folder``."""
        return self._root or settings.store_folder()

    def path(self, file: File) -> Path:
        """The path of a file in the store, which need not exist.

        Raises:
            IntegrityError: if a link leads out of the store.
        """
        blobs = self.root / "blobs" / "sha256"
        return check_contained(blobs / file.sha256[:2] / file.sha256, self.root)

    def has(self, file: File) -> bool:
        """Whether a file of the right size is readable in the store; its hash isn't checked."""
        try:
            found = self.find(file)
            return found is not None and found.stat().st_size == file.size
        except IntegrityError:
            raise
        except (CondgenError, OSError):  # no store, or another user's
            return False

    def find(self, file: File) -> Path | None:
        """The path of a file in the store, complete or damaged; None if it isn't there.

        Raises:
            IntegrityError: if a link leads out of the store.
            CondgenError: if the store belongs to another user and isn't readable.
        """
        path = self.path(file)
        with self.read_errors():
            return path if path.is_file() else None

    def problem(self, file: File) -> str:
        """What is wrong with a file in the store, see ``problem_with``. Errors are those of ``find``."""
        path = self.path(file)
        with self.read_errors():
            return problem_with(path, file)

    @contextmanager
    def read_errors(self) -> Iterator[None]:
        """Translate the error of reading another user's file in the store into one clear line."""
        try:
            yield
        except PermissionError:
            message = f"the store {self.root} holds files that only another user may read"
            opened = f"chmod -R a+rX {shlex.quote(str(self.root))}"
            hint = f"set CONDGEN_HOME to a folder of your own, or have the other user run: {opened}"
            raise CondgenError(message, hint) from None

    def add(self, file: File, urls: Sequence[str], description: str) -> Path:
        """Download a file unless it is there, and return its path. Errors are those of ``fetch``."""
        path = fetch(urls, self.path(file), size=file.size, sha256=file.sha256, description=description)
        if problem := problem_with(path, file):
            path.unlink()
            raise IntegrityError(f"{file.path} from {urls[0]}: {problem}")
        return path

    def remove(self, file: File) -> int:
        """Delete a file and its partial downloads; return the number of bytes freed."""
        path = self.path(file)
        freed = 0
        with storage_errors(path):
            for leftover in (path, *leftovers(path)):
                if leftover.is_file():
                    freed += leftover.stat().st_size
                    leftover.unlink()
        return freed

    def last_manifest(self, url: str) -> bytes | None:
        """The copy of a remote manifest; None if there is none, or it can't be read."""
        try:
            return self._manifest(url).read_bytes()
        except (CondgenError, OSError):
            return None

    def keep_manifest(self, url: str, data: bytes) -> None:
        """Keep a copy of a remote manifest for use without network; do nothing if the store isn't writable."""
        with suppress(CondgenError, OSError):
            write_atomically(self._manifest(url), data)

    def _manifest(self, url: str) -> Path:
        return self.root / "manifests" / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"


def problem_with(path: Path, file: File) -> str:
    """What is wrong with a local copy of ``file`` (size, hash, safetensors header, what a graph may hold), as part of a
    sentence; empty if nothing."""
    if problem := Expected(file.size, file.sha256).problem(path):
        return problem
    try:
        if file.path.endswith(".safetensors"):
            read_header(path)
        elif file.path.endswith(".onnx"):
            read_graph(path)
    except IntegrityError as error:
        return error.message
    return ""
