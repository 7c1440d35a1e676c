"""The local store: files by their SHA-256, each written once, shared by all models that use it."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from condgen_cli.errors import IntegrityError
from condgen_cli.files import refuse_input
from condgen_cli.zoo.fetch import Expected, fetch, storage_errors
from condgen_cli.zoo.manifest import File
from condgen_cli.zoo.names import contained
from condgen_cli.zoo.safetensors_header import read_header

__all__ = ["Store", "problem_with", "write_atomically"]


class Store:
    """Blobs and copies of remote manifests below one folder, which is made when first written to."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, file: File) -> Path:
        """Where the file is, or would be.

        Raises:
            IntegrityError: if a link there leads out of the store.
        """
        blobs = self.root / "blobs" / "sha256"
        return contained(blobs / file.sha256[:2] / file.sha256, self.root)

    def has(self, file: File) -> bool:
        """Whether a file of the right size is there; its hash is not looked at."""
        path = self.path(file)
        return path.is_file() and path.stat().st_size == file.size

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
            for leftover in (path, path.with_name(path.name + ".part")):
                if leftover.is_file():
                    freed += leftover.stat().st_size
                    leftover.unlink()
        return freed

    def manifest(self, url: str) -> Path:
        """Where the copy of a remote manifest is kept, for use without network."""
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


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file's content in one step: a reader sees the old or the new one, whole. Its permissions are the umask's.

    Raises:
        UsageError: if it is an input of the running command.
    """
    refuse_input(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with partial.open("xb") as file:
            file.write(data)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
