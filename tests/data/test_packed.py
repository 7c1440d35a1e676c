"""Text files of data sets, plain or packed."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condgen_cli.data.packed import find_file, read_bytes, read_lines, read_text
from condgen_cli.errors import CondgenError, InputError, IntegrityError, NotFoundError

PACKERS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_file_is_found_and_read_packed_or_not(tmp_path: Path, suffix: str) -> None:
    content = "\ufeffeins\r\nzwei\x0c2\u2028".encode()
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(PACKERS[suffix](content))
    assert find_file(tmp_path / "none.txt", tmp_path / "a.txt") == path
    assert read_bytes(path) == content
    assert read_text(path) == "eins\nzwei\x0c2\u2028"
    assert list(read_lines(path)) == ["eins\r\n", "zwei\x0c2\u2028"]


def test_a_plain_file_is_preferred_and_an_earlier_name_to_a_later_one(tmp_path: Path) -> None:
    for name in ("a.txt", "a.txt.gz", "b.txt.xz", "c.txt"):
        (tmp_path / name).touch()
    assert find_file(tmp_path / "a.txt") == tmp_path / "a.txt"
    assert find_file(tmp_path / "b.txt", tmp_path / "c.txt") == tmp_path / "b.txt.xz"
    assert find_file(tmp_path / "d.txt") is None


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
@pytest.mark.parametrize("read", [read_bytes, read_text, lambda path: list(read_lines(path))])
def test_a_damaged_file_is_told_in_one_line(tmp_path: Path, suffix: str, read: Callable[[Path], object]) -> None:
    path = tmp_path / f"a.txt{suffix}"
    for content in (PACKERS[suffix](b"a line\n" * 50)[:-9], b"nothing packed"):
        path.write_bytes(content)
        with pytest.raises(IntegrityError, match=r"a\.txt\.[gx]z is damaged") as caught:
            read(path)
        assert "\n" not in caught.value.message
    path.unlink()
    with pytest.raises(NotFoundError, match="no file"):
        read(path)
    path.mkdir()
    with pytest.raises(CondgenError, match="can't read"):
        read(path)


def test_what_is_not_utf_8_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\ntwo\nz\xc3w\xf6lf\n")
    with pytest.raises(InputError, match=r"a\.txt:3: not UTF-8 \(byte 2\)"):
        read_text(path)
    lines = read_lines(path)
    assert [next(lines), next(lines)] == ["one\n", "two\n"]
    with pytest.raises(InputError, match=r"a\.txt:3: not UTF-8"):
        next(lines)


@given(st.text(st.characters(exclude_characters="\r\ufeff", exclude_categories=["Cs"])))
def test_the_lines_of_a_text_are_the_text(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_bytes(text.encode())
    assert "".join(read_lines(path)) == read_text(path) == text
