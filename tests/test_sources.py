"""One input by its name: files, pipes, standard input and URLs are read once, and bounded."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from condgen_cli.data.image import load_image
from condgen_cli.data.video import load_clip
from condgen_cli.errors import CondgenError, InputError, NetworkError, NotFoundError
from condgen_cli.files import sources
from condgen_cli.files.inputs import refuse_device
from condgen_cli.files.sources import Source, stem
from condgen_cli.inputs.lines import text_inputs


def test_devices_without_an_end_are_refused() -> None:
    for read in (lambda: Source("/dev/zero").open(), lambda: load_clip("/dev/urandom"), lambda: text_inputs([], "/dev/zero")):
        with pytest.raises(InputError, match=r"^/dev/u?\w+ is a device, not a file$"):
            read()
    assert Source("/dev/null").open() == b""
    with Path("/dev/zero").open("rb") as device, pytest.raises(InputError, match="standard input is a device"):
        refuse_device(device.fileno(), "standard input")


def test_a_pipe_with_a_name_is_read_once_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    monkeypatch.setattr(sources, "MAX_DOWNLOAD", 1000)
    for content in (b"bytes", bytes(5000)):
        writer = threading.Thread(target=_write_all, args=(path, content), daemon=True)
        writer.start()
        source = Source(str(path))
        if len(content) < 1000:
            assert source.open() == source.open() == content
            assert Source(source).file().read() == content
        else:
            with pytest.raises(InputError, match="pipe holds more than"):
                source.open()
        writer.join()


def _write_all(path: Path, content: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        path.write_bytes(content)


def test_a_file_named_like_standard_input_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (9, 9), "red").save(tmp_path / "standard input", "PNG")
    piped = io.BytesIO()
    Image.new("RGB", (9, 9), "blue").save(piped, "PNG")
    for read in (load_image, lambda source: load_clip(source).frames[0]):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(piped.getvalue())))
        assert read(Source("-")).getpixel((4, 4)) == (0, 0, 255)
        assert read(Source("standard input")).getpixel((4, 4)) == (255, 0, 0)


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
