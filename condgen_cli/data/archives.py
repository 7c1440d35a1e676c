"""Reading published archives in place, packed or unpacked.

A tree is a folder, a zip file or a tar file as named members, which are read into memory one at a time: nothing is unpacked to
disk, and a reader works whether the user has unpacked the archive or not. Names in an archive are not trusted: an archive
with a name that would leave the folder is refused.
"""

from __future__ import annotations

import lzma
import os
import re
import stat
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from gzip import BadGzipFile
from pathlib import Path
from typing import IO, Any, Protocol

from condgen_cli.errors import CondgenError, IntegrityError, NotFoundError, reason_of
from condgen_cli.files import protect
from condgen_cli.item import Content

__all__ = ["Member", "Tree", "member_name", "open_tree"]

MAX_MEMBER = 1 << 30
"""Maximum size in bytes of a member."""


class Tree(Protocol):
    """The named members of a folder or an archive; it is thread-safe."""

    def names(self) -> tuple[str, ...]:
        """Names of the files, with ``/`` between folders."""

    def read(self, name: str) -> bytes:
        """The content of a member.

        Raises:
            NotFoundError: if there is no such member.
            IntegrityError: if it is damaged or too large.
        """


@dataclass(frozen=True)
class Member(Content):
    """A file of a tree, which is read when it is opened."""

    tree: Tree
    name: str

    def __post_init__(self) -> None:
        if isinstance(self.tree, _Folder):
            protect(self.tree.path / self.name)  # now: outputs are checked before the file is read

    def open(self) -> bytes:
        """The file's content. Errors are those of ``Tree.read``."""
        return self.tree.read(self.name)

    def text(self) -> str:
        """The file's content as UTF-8 text, without a byte order mark.

        Raises:
            IntegrityError: if it isn't UTF-8.
            NotFoundError, IntegrityError: as ``Tree.read``.
        """
        try:
            return self.open().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise IntegrityError(f"{self} is not UTF-8") from None

    def __str__(self) -> str:
        return f"{self.tree}/{self.name}"


def member_name(name: str) -> str:
    """A member's name without ``./`` and repeated slashes.

    Raises:
        IntegrityError: if the name is empty, absolute, leaves the folder or contains a control character.
    """
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]
    absolute = name[:1] in ("/", "\\") or any(re.match(r"[A-Za-z]:", part) for part in parts[:1])
    if not parts or absolute or ".." in parts or any(ord(character) < 32 for character in name):
        raise IntegrityError(f"unsafe name {name!r}")
    return "/".join(parts)


def open_tree(path: Path, max_member: int = MAX_MEMBER) -> Tree:
    """Open a folder, or a zip or tar file (plain, gz, bz2, xz), as a tree.

    Read a compressed tar file in stored order: going back means unpacking it from the beginning.

    Args:
        path: path of the folder or file.
        max_member: maximum size in bytes of a member to read.
    Raises:
        NotFoundError: if ``path`` doesn't exist.
        IntegrityError: if the file is not an archive, is damaged, or contains an unsafe name.
    """
    return _Folder(path, max_member) if path.is_dir() else _Archive(path, max_member)


@dataclass(frozen=True)
class _Entry:
    """A member of an archive other than a folder; ``regular`` is False for links and devices."""

    name: str
    size: int
    regular: bool
    open: Callable[[], IO[bytes]]


class _Folder:
    def __init__(self, path: Path, max_member: int) -> None:
        self.path = path
        self.max_member = max_member

    def __str__(self) -> str:
        return str(self.path)

    def names(self) -> tuple[str, ...]:
        paths = [Path(folder, file) for folder, _, files in os.walk(self.path) for file in files]
        return tuple(sorted(path.relative_to(self.path).as_posix() for path in paths))

    def read(self, name: str) -> bytes:
        path = self.path / member_name(name)
        protect(path)
        with _translate_errors(path):
            _check_size(path, path.stat().st_size, self.max_member)
            return path.read_bytes()


class _Archive:
    """An archive with one file handle behind a lock. A process that inherits or unpickles it opens a handle of its own, since
    processes can't share a file's position."""

    def __init__(self, path: Path, max_member: int) -> None:
        self.path = path
        self.max_member = max_member
        protect(path)
        self._open()

    def __str__(self) -> str:
        return str(self.path)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.max_member)

    def _open(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        with _translate_errors(self.path):
            self._entries = {entry.name: entry for entry in _entries(self.path) if entry.regular}

    def names(self) -> tuple[str, ...]:
        return tuple(self._entries)

    def read(self, name: str) -> bytes:
        if os.getpid() != self._process:
            self._open()
        protect(self.path)
        entry = self._entries.get(name)
        if entry is None:
            raise NotFoundError(f"{self.path} holds no {name}")
        with self._lock, _translate_errors(self.path):
            _check_size(name, entry.size, self.max_member)
            with entry.open() as file:
                return file.read()


def _check_size(name: object, size: int, limit: int) -> None:
    if size > limit:
        raise IntegrityError(f"{name} has {size} bytes, more than the {limit} allowed")


def _entries(path: Path) -> Iterator[_Entry]:
    """The members of an archive in stored order; they share one file handle."""
    with path.open("rb") as file:
        # by its first bytes: zipfile.is_zipfile looks at the end, so that a truncated zip would be reported as a bad tar
        zipped = file.read(2) == b"PK"
    return _zip_entries(path) if zipped else _tar_entries(path)


def _zip_entries(path: Path) -> Iterator[_Entry]:
    archive = zipfile.ZipFile(path)
    for info in archive.infolist():
        if not (info.filename and info.is_dir()):  # is_dir fails on an empty name
            file_type = stat.S_IFMT(info.external_attr >> 16)
            regular = file_type in (0, stat.S_IFREG)
            yield _Entry(member_name(info.filename), info.file_size, regular, partial(archive.open, info))


def _tar_entries(path: Path) -> Iterator[_Entry]:
    archive = tarfile.open(path)  # noqa: SIM115 (it stays open as long as its entries)
    for info in archive:
        if not info.isdir():
            yield _Entry(member_name(info.name), info.size, info.isreg(), partial(_open_tar_member, archive, info))
    # gzip's checksum is at the end, after what tarfile reads
    while archive.fileobj and archive.fileobj.read(1 << 20):
        pass


def _open_tar_member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(info)
    if file is None:
        raise tarfile.ReadError(f"{info.name} is no file")
    return file


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    """Translate the standard library's exceptions for missing, damaged, encrypted or unsupported archives."""
    damage = (
        zipfile.BadZipFile,
        tarfile.TarError,
        BadGzipFile,
        zlib.error,
        lzma.LZMAError,
        struct.error,
        EOFError,
        ValueError,
        RuntimeError,
        LookupError,
        AttributeError,
    )
    try:
        yield
    except IntegrityError as error:
        raise IntegrityError(f"{path}: {error.message}") from None
    except FileNotFoundError:
        raise NotFoundError(f"no file {path}") from None
    except damage as error:
        raise IntegrityError(f"{path} is damaged or not a supported archive: {error}") from None
    except OSError as error:
        raise CondgenError(f"can't read {path}: {reason_of(error)}") from None
