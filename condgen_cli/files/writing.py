"""Writing output files: to a temporary file in the same folder, renamed when it is complete."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO, TypeVar

from condgen_cli.errors import CondgenError, NotFoundError, UsageError, reason_of
from condgen_cli.files.inputs import refuse_input
from condgen_cli.terminal.printable import ESCAPES

__all__ = ["OutputFile", "check_output", "replacement", "storage_error", "write_atomically", "write_whole"]

R = TypeVar("R")

LONGEST_NAME = 255
"""Longest file name of common file systems, in bytes."""


def storage_error(path: str | os.PathLike[str], error: OSError | ValueError) -> CondgenError:
    """The error for a file that can't be written."""
    return CondgenError(f"cannot write {os.fspath(path)}: {reason_of(error)}")


def check_output(path: Path) -> None:
    """Check before any work that a file may be written.

    Raises:
        UsageError: if it is an input of the running command, or a folder.
        NotFoundError: if its parent folder doesn't exist.
    """
    refuse_input(path)
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder", f"name a file in it, or {path}/{{stem}}.txt for one file per input")
        if not path.absolute().parent.is_dir():
            raise NotFoundError(
                f"cannot write {path}: the folder {path.parent} does not exist", f"mkdir -p {shlex.quote(str(path.parent))}"
            )
    except (OSError, ValueError) as error:  # a name that is too long, or has a null character
        raise storage_error(path, error) from None


class OutputFile:
    """An output file, of text unless ``write_bytes`` is used, that replaces an older file only when ``commit`` is called.

    Until then, content is in a hidden file in the same folder. A device or a pipe is written directly. The new file gets the
    permissions of the old one, or those of the umask; a link is kept and leads to the new content.

    Args:
        path: final path.
    Raises:
        UsageError: if the path is an input of the running command, or a folder.
        NotFoundError: if its folder doesn't exist.
        CondgenError: if it can't be written, now or later.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        check_output(path)
        self._file, self._partial = _name_file_in_errors(path, lambda: _open(path))
        self.written = False

    def write(self, text: str) -> int:
        """Append text."""
        self.written = self.written or bool(text)
        return _name_file_in_errors(self.path, lambda: self._file.write(text))

    def write_bytes(self, content: bytes) -> None:
        """Append bytes, for a binary file."""
        self.written = self.written or bool(content)
        self.flush()
        _name_file_in_errors(self.path, lambda: self._file.buffer.write(content))

    def flush(self) -> None:
        """Flush written content to the operating system."""
        _name_file_in_errors(self.path, self._file.flush)

    def commit(self) -> None:
        """Replace the older file.

        Raises:
            UsageError: if the path has become an input of the running command.
        """
        try:
            refuse_input(self.path)
            _name_file_in_errors(self.path, lambda: _close(self._file, self._partial, self.path))
        except CondgenError:
            self.discard()
            raise

    def discard(self) -> None:
        """Drop the written content and leave the older file unchanged."""
        with suppress(OSError):
            self._file.close()
        if self._partial is not None:
            with suppress(OSError):
                self._partial.unlink()

    def keep(self) -> Path | None:
        """Leave the older file unchanged, and keep the written content in ``NAME.part`` beside it. Returns that path; None if
        nothing was written."""
        if self._partial is None or not self.written:
            self.discard()
            return None
        kept = self.path.with_name(_fit_name("", self.path.name, ".part"))
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._partial.replace(kept)
            return kept
        return self._partial


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """Replace a file atomically: yields a temporary path, which is renamed to the file at the end of the block, or deleted
    after an error.

    The new file gets the permissions of the old one, or those of the umask; a link is kept and leads to the new content.

    Raises:
        UsageError: if the file is an input of the running command.
        OSError: if it can't be replaced.
    """
    refuse_input(path)
    target = _target(path)
    partial = _partial(target)
    try:
        yield partial
        _rename(partial, target)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file of condgen's own atomically; its folder is made if necessary.

    Raises:
        UsageError: if the file is an input of the running command.
        OSError: if it can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacement(path) as partial:
        partial.write_bytes(content)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file named by the user atomically; a device or a pipe is written directly.

    Raises:
        UsageError: if the path is an input of the running command, or a folder.
        NotFoundError: if its folder doesn't exist.
        CondgenError: if it can't be written.
    """
    check_output(path)

    def write() -> None:
        if _is_special(path):
            path.write_bytes(content)
            return
        with replacement(path) as partial:
            partial.write_bytes(content)

    _name_file_in_errors(path, write)


def _open(path: Path) -> tuple[TextIO, Path | None]:
    if _is_special(path):
        return path.open("w", encoding="utf-8", errors=ESCAPES), None
    partial = _partial(_target(path))
    return partial.open("w", encoding="utf-8", errors=ESCAPES), partial


def _close(file: TextIO, partial: Path | None, path: Path) -> None:
    file.close()
    if partial is not None:
        _rename(partial, _target(path))


def _rename(partial: Path, target: Path) -> None:
    if target.exists():
        with suppress(OSError):  # a file system without permissions
            partial.chmod(stat.S_IMODE(target.stat().st_mode))
    partial.replace(target)


def _is_special(path: Path) -> bool:
    """Whether a path is a device, a pipe or a socket, which can't be replaced."""
    return path.exists() and not path.is_file()


def _target(path: Path) -> Path:
    """The file that a link leads to."""
    return path.resolve() if path.is_symlink() else path


def _partial(target: Path) -> Path:
    return target.with_name(_fit_name(".", target.name, f".{os.getpid()}-{os.urandom(4).hex()}.part"))


def _fit_name(before: str, name: str, after: str) -> str:
    """A file name with a prefix and a suffix, the name cut so that the whole is not too long for a file system."""
    room = LONGEST_NAME - len(before) - len(after)
    return before + os.fsdecode(os.fsencode(name)[:room]) + after


def _name_file_in_errors(path: Path, function: Callable[[], R]) -> R:
    """Call a function and make its errors name the file."""
    try:
        return function()
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        raise storage_error(path, error) from None
