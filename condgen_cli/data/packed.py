"""Finding and reading text files of data sets, plain or compressed by gzip or xz."""

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
"""Openers by the suffix of compressed files; a plain file is preferred to a compressed one."""


def find_file(*paths: Path) -> Path | None:
    """The first file that exists, plain or compressed; None if none does.

    Args:
        paths: paths without the suffixes ``.gz`` and ``.xz``, which are tried for each path in turn.
    """
    candidates = (path.with_name(path.name + suffix) for path in paths for suffix in _OPENERS)
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is not None:
        protect(found)  # now: outputs are checked before the file is read
    return found


def read_bytes(path: Path) -> bytes:
    """The content of a file, decompressed if its suffix is ``.gz`` or ``.xz``.

    Raises:
        NotFoundError: if there is no such file.
        IntegrityError: if it is compressed and damaged.
        CondgenError: if it can't be read.
    """
    with _translate_errors(path), _open(path) as file:
        content: bytes = file.read()
    return content


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file with their line ends, decompressed and read lazily: it may be larger than memory.

    Raises:
        InputError: as ``decode_lines``.
        CondgenError: as ``read_bytes``.
    """
    with _translate_errors(path), _open(path) as file:
        yield from decode_lines(file, str(path))


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without a byte order mark, and with line feeds as line ends.

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
    """Decode UTF-8 lines with their line ends, without a byte order mark.

    Only a line feed ends a line: a sentence may contain other characters at which ``str.splitlines`` would split.

    Args:
        lines: lines as bytes, such as a file in binary mode.
        name: name of the file, for messages.
    Raises:
        InputError: at a line that isn't UTF-8; the message begins with the name and the number of the line.
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
    """Translate the standard library's exceptions for missing and damaged files."""
    try:
        yield
    except FileNotFoundError:
        raise NotFoundError(f"no file {path}") from None
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise IntegrityError(f"{path} is damaged: {error}") from None
    except OSError as error:
        raise CondgenError(f"can't read {path}: {reason_of(error)}") from None
