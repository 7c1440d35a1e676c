"""Texts as inputs: a command line's arguments, or the lines of a file or of standard input, read as they come.

Only light modules are imported here, since ``condgen TASK --help`` reaches this file.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from condgen_cli.errors import CondgenError, InputError, NotFoundError, UsageError, reason_of
from condgen_cli.files.inputs import protect, refuse_device
from condgen_cli.files.sources import STDIN, Failure, Source, near_names, stem
from condgen_cli.item import Item

__all__ = ["MAX_LINE", "Text", "Texts", "refuse_file_name", "text_inputs", "text_stem"]

MAX_LINE = 256 * 1024
"""Bytes that a line may have; of a longer one no more than this is held."""

BLOCK = 64 * 1024
_LONGEST_PATH = 4096
_PATH = re.compile(
    r"""
      (?: ~ | \.{1,2} )? / [^\s/]+ (?: / [^\s/]+ )* /?      # /tmp/a, ./a, ~/a/b
    | [A-Za-z]:\\ \S+
    | [^\s/]+ (?: / [^\s/]+ )+ \. \w{1,5}                  # texts/a.txt
    | [\w~-][^\s/]* \. (?: txt | text | md | csv | tsv | jsonl? | srt | vtt | html? | xml | pdf | docx? | odt | rtf | log )
    | [\w~-][^\s/]* \. (?: gz | xz | zip )
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Texts of one word that look like names of files."""
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Text:
    """An input that is a text itself.

    Args:
        name: its name in errors: ``notes.txt:12``, ``stdin:3``, ``text-1`` for an argument.
        text: the text without its line end.
        warnings: what the user should know about it, a line each.
    """

    name: str
    text: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Texts:
    """Inputs of a command that are no files, in order.

    Args:
        entries: the inputs, read lazily: texts; items, where an input is more than a text; and a ``Failure`` in the place of
            one that can't be read.
        several: whether there may be more than one.
        live: whether they come as somebody writes them, so that each should be answered without waiting for the next.
    """

    entries: Iterable[Text | Item | Failure]
    several: bool
    live: bool = False

    def __iter__(self) -> Iterator[Text | Item | Failure]:
        return iter(self.entries)


def text_inputs(arguments: Sequence[str], file: str | None) -> Texts:
    """A command line's texts: its arguments, or with ``--input`` the lines of a file; ``-`` is standard input.

    Raises:
        UsageError: if both are given, or neither, or an argument is the name of a file.
        NotFoundError: if the file doesn't exist.
        InputError: if it can't be opened, or is a photo, a video or a sound recording.
    """
    if arguments and file is not None:
        raise UsageError("texts and --input are two ways to give the input: choose one")
    if file is not None:
        stream = _open_stdin() if file == STDIN else _open_text(file)
        return Texts(_lines(stream, "stdin" if file == STDIN else file), several=True, live=not _is_file(stream))
    if list(arguments) == [STDIN]:
        raise UsageError("standard input is read with --input", "--input -")
    if not arguments:
        piped = sys.stdin is not None and not sys.stdin.closed and not sys.stdin.isatty()
        raise UsageError("no input", "--input - reads standard input" if piped else "give a text in quotes, or --input FILE")
    for argument in arguments:
        refuse_file_name(argument, "--input FILE")
    texts = [_argument(f"text-{number}", argument) for number, argument in enumerate(arguments, 1)]
    return Texts(texts, several=len(texts) > 1)


def refuse_file_name(text: str, hint: str) -> None:
    """Refuse a text that is the name of a file: what the file holds must have been meant.

    Args:
        hint: a command line's part that gives the file's content; the quoted name takes the place of ``FILE``.
    Raises:
        UsageError: if it is one.
    """
    if _is_path(text) and os.path.isfile(text):
        raise UsageError(f"{text} is a file, and its name would be taken for the text", hint.replace("FILE", shlex.quote(text)))


def _argument(name: str, argument: str) -> Text | Failure:
    text = _text(name, _bytes(argument))
    if isinstance(text, Text) and _PATH.fullmatch(argument):
        warning = f"{argument} looks like the name of a file, and is taken for a text; did you mean --input {argument}?"
        return replace(text, warnings=(warning,))
    return text


def _is_path(argument: str) -> bool:
    """Whether it may be asked if there is such a file: a text may be longer than a name can be, or hold a null character."""
    return 0 < len(argument) < _LONGEST_PATH and "\0" not in argument and "\n" not in argument


def text_stem(name: str) -> str:
    """A name for files made from a text: ``notes-12`` for line 12 of notes.txt, ``text-1`` for an argument."""
    path, _, number = name.rpartition(":")
    return f"{stem(path)}-{number}" if path and number.isdecimal() else name


def _lines(stream: BinaryIO, name: str) -> Iterator[Text | Failure]:
    """A text for each line. Ends are LF or CRLF, the last may be missing; a byte order mark is dropped."""
    for number, line in enumerate(_split(stream, name), 1):
        place = f"{name}:{number}"
        if line is None:
            message = f"{place}: the line has more than {MAX_LINE // 1024} KB"
            yield Failure(place, InputError(message, "put its sentences on lines of their own"))
        else:
            yield _text(place, line.removeprefix(BOM) if number == 1 else line)


def _split(stream: BinaryIO, name: str) -> Iterator[bytes | None]:
    """Lines without their ends; None for one that is too long. A block is read when the lines before it are used up."""
    line, too_long = bytearray(), False
    with stream:
        while block := _read(stream, name):
            *ends, rest = block.split(b"\n")
            for end in ends:
                line += end
                yield None if too_long else _within_limit(line)
                line, too_long = bytearray(), False
            line += rest
            if len(line) > MAX_LINE + len(b"\r"):
                line, too_long = bytearray(), True
    if line or too_long:
        yield None if too_long else _within_limit(line)


def _within_limit(line: bytearray) -> bytes | None:
    bare = line.removesuffix(b"\r")
    return bytes(bare) if len(bare) <= MAX_LINE else None


def _read(stream: BinaryIO, name: str) -> bytes:
    """What is there, as soon as there is something."""
    try:
        return stream.read(BLOCK)
    except OSError as error:
        raise InputError(f"cannot read {name}: {reason_of(error)}") from None


def _text(name: str, data: bytes) -> Text | Failure:
    try:
        return Text(name, data.decode())
    except UnicodeDecodeError as error:
        message = f"{name}: not UTF-8 (byte 0x{data[error.start]:02x} at {error.start + 1})"
        return Failure(name, InputError(message))


def _bytes(argument: str) -> bytes:
    # Python keeps bytes of an argument that it can't decode as surrogates; those that are no such byte are no UTF-8 either
    try:
        return argument.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return argument.encode(errors="surrogatepass")


def _open_stdin() -> BinaryIO:
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("there is no standard input")
    # unbuffered: what has come is given at once, and a thread that waits here holds no lock that Python's exit wants
    try:
        number = sys.stdin.fileno()
    except io.UnsupportedOperation:  # it is in memory
        return sys.stdin.buffer
    refuse_device(number, "standard input")
    return io.FileIO(number, closefd=False)


def _open_text(path: str) -> BinaryIO:
    """A file of lines; in what encoding they are, and whether each is one, is found as they are read."""
    stream = _open(path)
    if _is_file(stream):
        # imported here because `condgen TASK --help` reaches this file
        from condgen_cli.data.content import Kind, check_kind

        try:
            check_kind(Source(path), [Kind.text], otherwise=Kind.text)
        except CondgenError:
            stream.close()
            raise
    return stream


def _open(path: str) -> BinaryIO:
    protect(path)
    try:
        return io.FileIO(path)
    except FileNotFoundError:
        raise NotFoundError(f"{path} does not exist", near_names(path)) from None
    except IsADirectoryError:
        raise InputError(f"{path} is a directory") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise InputError(f"cannot read {path}: {reason_of(error)}") from None


def _is_file(stream: BinaryIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except io.UnsupportedOperation:  # it is in memory
        return True
