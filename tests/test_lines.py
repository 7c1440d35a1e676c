"""Texts from arguments, files and standard input."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from condgen_cli.errors import InputError, NotFoundError, UsageError
from condgen_cli.files.sources import Failure
from condgen_cli.inputs import lines
from condgen_cli.inputs.lines import MAX_LINE, Text, Texts, text_inputs, text_stem


def told(texts: Texts) -> list[str]:
    """The texts; what is none as its message."""
    return [one.error.message if isinstance(one, Failure) else one.text for one in texts]


def lines_of(data: bytes, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    return told(text_inputs([], "-"))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "notes.txt"


def test_arguments_are_texts() -> None:
    texts = text_inputs(["机器学习", "Guten Tag", ""], None)
    assert list(texts) == [Text("text-1", "机器学习"), Text("text-2", "Guten Tag"), Text("text-3", "")]
    assert texts.several
    assert not texts.live
    assert not text_inputs(["one"], None).several


def test_an_argument_that_names_a_file_is_no_text(file: Path) -> None:
    file.write_text("a\n")
    for name in ("notes.txt", str(file)):
        with pytest.raises(UsageError, match="is a file") as refused:
            text_inputs(["Hallo", name], None)
        assert refused.value.hint == f"--input {name}"
    (file.parent / "folder").mkdir()
    plain = ["folder", "x" * 10_000, "a\0b", "Das ist notes.txt", "z.B.", "3.14", "example.com", "and/or", "Hallo.Welt"]
    assert [one.warnings for one in text_inputs(plain, None) if isinstance(one, Text)] == [()] * len(plain)
    paths = ["nofile.txt", "./a", "../b/c", "/tmp/none", "~/none", "texts/a.de", "Reise-2.PDF", r"C:\texts\a.txt"]
    for one in text_inputs(paths, None):
        assert isinstance(one, Text)
        assert one.warnings == (f"{one.text} looks like a file name, but is read as a text; did you mean --input {one.text}?",)


def test_an_argument_that_is_not_utf_8() -> None:
    argument = os.fsdecode(b"Gr\xfc\xdfe")
    assert told(text_inputs(["Hallo", argument], None)) == ["Hallo", "text-2: not UTF-8 (byte 0xfc at 3)"]
    assert told(text_inputs(["\ud800"], None)) == ["text-1: not UTF-8 (byte 0xed at 1)"]


def test_one_of_the_two_ways(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("a\n")
    with pytest.raises(UsageError, match="choose one"):
        text_inputs(["text"], "notes.txt")
    with pytest.raises(UsageError) as dash:
        text_inputs(["-"], None)
    assert dash.value.hint == "--input -"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\n")))
    with pytest.raises(UsageError, match="no input") as piped:
        text_inputs([], None)
    assert piped.value.hint == "--input - reads standard input"
    assert sys.stdin.buffer.read() == b"a\n", "it must not be touched"


def test_names_of_lines_and_files_made_from_them(file: Path) -> None:
    file.write_text("a\n\nb")
    texts = text_inputs([], "notes.txt")
    assert texts.several
    assert not texts.live
    assert list(texts) == [Text("notes.txt:1", "a"), Text("notes.txt:2", ""), Text("notes.txt:3", "b")]
    assert [text_stem(name) for name in ("a/notes.txt:12", "stdin:3", "text-1")] == ["notes-12", "stdin-3", "text-1"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a\n\n  \nb", ["a", "", "  ", "b"]),
        (b"a\r\nb\r\n\r\n", ["a", "b", ""]),
        (b"a\rb\n", ["a\rb"]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),
        ("a\u2028b\x0bc\x85d\n".encode(), ["a\u2028b\x0bc\x85d"]),
    ],
)
def test_line_ends(data: bytes, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines_of(data, monkeypatch) == expected


def test_bytes_that_are_not_utf_8_fail_alone(file: Path) -> None:
    file.write_bytes(b"eins\nzw\xffei\n\xc3\ndrei")
    assert told(text_inputs([], "notes.txt")) == [
        "eins",
        "notes.txt:2: not UTF-8 (byte 0xff at 3)",
        "notes.txt:3: not UTF-8 (byte 0xc3 at 1)",
        "drei",
    ]


@settings(max_examples=60)
@given(st.lists(st.text(st.characters(exclude_characters="\n", codec="utf-8"))), st.booleans(), st.integers(1, 9))
def test_lines_are_those_written_whatever_the_blocks(texts: list[str], last_end: bool, block: int) -> None:
    data = "".join(text + "\r\n" for text in texts).encode()
    if not last_end and texts and texts[-1]:
        data = data.removesuffix(b"\r\n")
        texts = [*texts[:-1], texts[-1].removesuffix("\r")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK", block)
        expected = [texts[0].removeprefix("\ufeff"), *texts[1:]] if texts else []
        assert lines_of(data, patch) == expected


def test_a_line_that_is_too_long_is_refused_and_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE", 10)
    monkeypatch.setattr(lines, "BLOCK", 7)
    data = b"a" * 10 + b"\r\n" + b"b" * 11 + b"\n" + b"c" * 50 + b"\nd\n" + b"e" * 12
    message = "stdin:{}: the line has more than 0 KB"
    assert lines_of(data, monkeypatch) == ["a" * 10, message.format(2), message.format(3), "d", message.format(5)]


class Endless(io.RawIOBase):
    """A line without an end, of which nobody could hold the whole."""

    def __init__(self, size: int) -> None:
        self.left = size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        given = min(size, self.left)
        self.left -= given
        return bytes(given)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(Endless(64 * MAX_LINE)))  # type: ignore[arg-type]
    tracemalloc.start()
    try:
        (message,) = told(text_inputs([], "-"))
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX_LINE
    finally:
        tracemalloc.stop()
    assert message == "stdin:1: the line has more than 256 KB"


def test_files_that_cannot_be_read_are_told_at_once(file: Path) -> None:
    file.write_text("a\n")
    with pytest.raises(NotFoundError, match=r"note\.txt does not exist") as missing:
        text_inputs([], "note.txt")
    assert missing.value.hint == "did you mean: notes.txt"
    with pytest.raises(InputError, match="is a directory"):
        text_inputs([], str(file.parent))
    with pytest.raises(InputError, match="cannot read"):
        text_inputs([], "a\0b")


def test_a_pipe_is_live(file: Path) -> None:
    os.mkfifo(file)
    writer = os.open(file, os.O_RDWR)
    try:
        texts = text_inputs([], "notes.txt")
        assert texts.live
        stream = iter(texts)
        for text in ("first", "second"):
            os.write(writer, f"{text}\n".encode())
            one = next(stream)
            assert isinstance(one, Text)
            assert one.text == text
    finally:
        os.close(writer)
