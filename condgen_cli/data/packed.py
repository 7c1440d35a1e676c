"""Text files of data sets, plain or packed by gzip or xz: found, and read as lines or as a whole."""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from condgen_cli.errors import CondgenError, InputError, IntegrityError, NotFoundError, reason_of
from condgen_cli.files import protect

__all__ = ["decode_lines", "find_file", "read_bytes", "read_lines", "read_text"]

_OPENERS: Mapping[str, Callable[[Path], Any]] = {"": lambda path: path.open("rb"), ".gz": gzip.open, ".xz": lzma.open}
"""By the suffix that packing adds to a file's name, none first: a plain file is preferred to a packed one."""


def find_file(*paths: Path) -> Path | None:
    """The first of some files that is there, plain or packed; None if none is.

    Args:
        paths: without the suffixes ``.gz`` and ``.xz``, which are tried for each in turn.
    """
    candidates = (path.with_name(path.name + suffix) for path in paths for suffix in _OPENERS)
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is not None:
        protect(found)  # now: what is written is checked before the file is read
    return found


def read_bytes(path: Path) -> bytes:
    """What a file holds, unpacked if its suffix is ``.gz`` or ``.xz``.

    Raises:
        NotFoundError: if there is no such file.
        IntegrityError: if it is packed and damaged.
        CondgenError: if it can't be read.
    """
    with _translate_errors(path), _open(path) as file:
        content: bytes = file.read()
    return content


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file with their ends, unpacked and read as they are asked for: it may be larger than memory.

    Raises:
        InputError: as ``decode_lines``.
        CondgenError: as ``read_bytes``.
    """
    with _translate_errors(path), _open(path) as file:
        yield from decode_lines(file, str(path))


def read_text(path: Path) -> str:
    """A UTF-8 file as text: a byte order mark is dropped, and every line ends in a line feed alone.

    Raises:
        InputError: if it isn't UTF-8; the message names the line.
        CondgenError: as ``read_bytes``.
    """
    content = read_bytes(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line, byte = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise InputError(f"{path}:{line}: not UTF-8 (byte {byte})") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def decode_lines(lines: Iterable[bytes], name: str) -> Iterator[str]:
    """UTF-8 lines as texts with their ends, without the byte order mark that the first may begin with.

    Only a line feed ends a line: a sentence may hold what ``str.splitlines`` takes for the end of one.

    Args:
        lines: as a file opened for bytes gives them.
        name: name of the file, for messages.
    Raises:
        InputError: when the line is reached, if one isn't UTF-8; the message begins with the name and the line's number.
    """
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{name}:{number}: not UTF-8") from None
        yield text.removeprefix("\ufeff") if number == 1 else text


def _open(path: Path) -> Any:
    protect(path)
    return _OPENERS.get(path.suffix, _OPENERS[""])(path)


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    """Turn what the standard library raises for a missing or damaged file into one line."""
    try:
        yield
    except FileNotFoundError:
        raise NotFoundError(f"no file {path}") from None
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise IntegrityError(f"{path} is damaged: {error}") from None
    except OSError as error:
        raise CondgenError(f"can't read {path}: {reason_of(error)}") from None
