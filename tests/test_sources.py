"""Command-line arguments become inputs, lazily and in order."""

from __future__ import annotations

import io
import os
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condgen_cli import sources
from condgen_cli.errors import CondgenError, InputError, NetworkError, NotFoundError
from condgen_cli.sources import Failure, Source, expand, stem

JPEG = (".jpg", ".jpeg")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("10.jpg", "2.JPG", "1.jpeg", "notes.txt", ".hidden.jpg", "sub/3.jpg", ".git/4.jpg", "sub/deep/5.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def expanded(*arguments: str) -> list[str]:
    """The inputs; those that failed as their messages."""
    return [one.error.message if isinstance(one, Failure) else one for one in expand(arguments, JPEG)]


def test_directories_are_searched_in_natural_order(folder: Path) -> None:
    assert expanded(".") == ["./1.jpeg", "./2.JPG", "./10.jpg", "./sub/3.jpg", "./sub/deep/5.jpg"]
    assert expanded("sub") == ["sub/3.jpg", "sub/deep/5.jpg"]


def test_links_to_directories_are_not_followed(folder: Path) -> None:
    (folder / "sub" / "loop").symlink_to(folder)
    assert expanded("sub") == ["sub/3.jpg", "sub/deep/5.jpg"]


def test_named_files_are_taken_whatever_their_suffix(folder: Path) -> None:
    assert expanded("notes.txt", "10.jpg") == ["notes.txt", "10.jpg"]


def test_patterns_that_no_shell_expanded(folder: Path) -> None:
    assert expanded("*.jp*g") == ["1.jpeg", "10.jpg"]
    assert expanded("**/*.jpg") == ["10.jpg", "sub/3.jpg", "sub/deep/5.jpg"]
    assert expanded("su?") == ["sub/3.jpg", "sub/deep/5.jpg"]
    assert expanded("*.png") == ["nothing matches *.png"]


def test_a_file_named_like_a_pattern(folder: Path) -> None:
    (folder / "a[1].jpg").write_bytes(b"x")
    assert expanded("a[1].jpg") == ["a[1].jpg"]


def test_what_is_not_there_fails_in_its_place(folder: Path) -> None:
    (folder / "void").mkdir()
    assert expanded("10.jpg", "100.jpg", "void", "sub/3.jpg") == [
        "10.jpg",
        "100.jpg does not exist",
        "void holds no files with a suffix of .jpeg .jpg",
        "sub/3.jpg",
    ]


def test_near_names_are_offered(folder: Path) -> None:
    (failure,) = expand(["sub/deep/6.jpg"], JPEG)
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, NotFoundError)
    assert failure.error.hint == "did you mean: sub/deep/5.jpg"
    (far,) = expand(["nowhere/at/all.jpg"], JPEG)
    assert isinstance(far, Failure)
    assert far.error.hint is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_directory_fails(folder: Path) -> None:
    (folder / "sub").chmod(0)
    try:
        assert expanded("sub")[0].startswith("cannot read sub: ")
    finally:
        (folder / "sub").chmod(0o700)


def test_expansion_is_lazy(folder: Path) -> None:
    def arguments() -> Iterator[str]:
        yield "10.jpg"
        raise AssertionError("read too far")

    assert next(expand(arguments(), JPEG)) == "10.jpg"


def test_stdin_and_urls_stand_for_themselves(folder: Path) -> None:
    assert expanded("-", "https://host/*.jpg", "HTTP://host/a") == ["-", "https://host/*.jpg", "HTTP://host/a"]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20, unique=True))
def test_natural_order_is_that_of_numbers(numbers: list[int]) -> None:
    names = sorted((f"img{number}.jpg" for number in numbers), key=sources.natural)
    assert [int(re.findall(r"\d+", name)[0]) for name in names] == sorted(numbers)


@given(st.lists(st.text(max_size=8), max_size=8))
def test_any_names_can_be_ordered(names: list[str]) -> None:
    assert sorted(sorted(names, key=sources.natural)) == sorted(names)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a/b/photo.jpg", "photo"),
        ("archive.tar.gz", "archive.tar"),
        ("https://host/x/cat.png?size=3#top", "cat"),
        ("https://host/", "input"),
        ("-", "stdin"),
    ],
)
def test_stem(source: str, expected: str) -> None:
    assert stem(source) == expected


def test_a_file_is_read_when_opened(tmp_path: Path) -> None:
    source = Source(str(tmp_path / "late.jpg"))
    with pytest.raises(NotFoundError, match="does not exist"):
        source.open()
    (tmp_path / "late.jpg").write_bytes(b"now")
    assert source.open() == b"now"
    for name, message in ((str(tmp_path), "is a directory"), ("a\0b", "cannot read")):
        with pytest.raises(InputError, match=message):
            Source(name).open()


def test_stdin_is_read_once_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xd8bytes")))
    source = Source("-")
    assert source.name == "standard input"
    assert source.open() == source.open() == b"\xff\xd8bytes"


def test_stdin_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_DOWNLOAD", 1000)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(bytes(1001))))
    with pytest.raises(InputError, match="standard input holds more than"):
        Source("-").open()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A server of ``tmp_path`` and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path))) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}", asked
        httpd.shutdown()


def test_urls_are_fetched_once(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    url, asked = server
    (tmp_path / "photo.jpg").write_bytes(b"bytes")
    source = Source(f"{url}/photo.jpg")
    assert source.open() == source.open() == b"bytes"
    assert len(asked) == 1


def test_a_url_that_is_not_there(server: tuple[str, list[str]]) -> None:
    url, _ = server
    with pytest.raises(CondgenError, match=r"absent\.jpg") as failure:
        Source(f"{url}/absent.jpg").open()
    assert failure.value.exit_code in (3, 7)


def test_a_url_that_is_too_large(tmp_path: Path, server: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    url, _ = server
    (tmp_path / "large.jpg").write_bytes(bytes(2000))
    monkeypatch.setattr(sources, "MAX_DOWNLOAD", 1000)
    with pytest.raises(InputError):
        Source(f"{url}/large.jpg").open()


def test_urls_while_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDGEN_OFFLINE", "1")
    with pytest.raises(NetworkError, match="network is off"):
        Source("http://127.0.0.1:9/photo.jpg").open()
