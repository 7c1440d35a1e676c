"""A zoo to download from, and an HTTP server that misbehaves as told."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from condgen_cli import settings
from condgen_cli.files import fetch as fetching

Behaviour = Callable[["Handler", bytes], None]


class Server(ThreadingHTTPServer):
    """Serves ``files`` by path; ``behaviours`` take over a path. Every GET is noted with its Range header."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.behaviours: dict[str, Behaviour] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.release = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def ranges(self, path: str) -> list[str | None]:
        return [header for requested, header in self.requests if requested == path]

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that was killed is part of the tests


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Range")))
        content = self.server.files.get(self.path)
        behaviour = self.server.behaviours.get(self.path, ranged)
        if content is None and behaviour is ranged:
            self.send_error(404)
        else:
            behaviour(self, content or b"")

    do_CONNECT = do_GET  # what a proxy is asked

    def respond(self, status: int, body: bytes, **headers: str) -> None:
        headers.setdefault("Content_Length", str(len(body)))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def etag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


def ranged(handler: Handler, content: bytes) -> None:
    """A sound server: Range, If-Range, 416."""
    match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    if not match or handler.headers.get("If-Range", etag(content)) != etag(content):
        return handler.respond(200, content, ETag=etag(content))
    start = int(match[1])
    if start >= len(content):
        return handler.respond(416, b"", Content_Range=f"bytes */{len(content)}")
    extent = f"bytes {start}-{len(content) - 1}/{len(content)}"
    return handler.respond(206, content[start:], Content_Range=extent, ETag=etag(content))


def ignoring_range(handler: Handler, content: bytes) -> None:
    handler.respond(200, content)


def wrong_range(handler: Handler, content: bytes) -> None:
    """A partial response that starts elsewhere than asked."""
    if handler.headers.get("Range"):
        handler.respond(206, content[1:], Content_Range=f"bytes 1-{len(content) - 1}/{len(content)}")
    else:
        handler.respond(200, content)


def truncated(at: int, times: int = 1) -> Behaviour:
    """Announce everything, close after ``at`` bytes; sound after ``times`` such responses."""
    left = [times]

    def behave(handler: Handler, content: bytes) -> None:
        left[0] -= 1
        if left[0] < 0:
            return ranged(handler, content)
        start = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
        extent = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        rest = content[start:]
        handler.respond(206 if start else 200, rest[:at], Content_Length=str(len(rest)), ETag=etag(content), **extent)
        return None

    return behave


def unannounced(handler: Handler, content: bytes) -> None:
    """A body without length, ended by closing the connection."""
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(content)


def answering(status: int, times: int = 1 << 30, **headers: str) -> Behaviour:
    """An error status; sound after ``times`` of them."""
    left = [times]

    def behave(handler: Handler, content: bytes) -> None:
        left[0] -= 1
        if left[0] < 0:
            return ranged(handler, content)
        return handler.respond(status, b"", **headers)

    return behave


def redirecting(target: str) -> Behaviour:
    return lambda handler, content: handler.respond(302, b"", Location=target)


def stalling(at: int) -> Behaviour:
    """Send ``at`` bytes, the rest when the server is released; later requests are served soundly."""

    def behave(handler: Handler, content: bytes) -> None:
        if handler.headers.get("Range") or handler.server.release.is_set():
            return ranged(handler, content)
        handler.respond(200, content[:at], Content_Length=str(len(content)))
        handler.wfile.flush()
        handler.server.release.wait(60)
        handler.close_connection = True
        return None

    return behave


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of its own for each test, and no proxy between it and the server."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "CONDGEN_ZOO", "CONDGEN_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("CONDGEN_HOME", str(tmp_path / "home"))
    # settings that one test makes must not reach another
    monkeypatch.setattr(settings, "_settings", ContextVar("settings", default=None))
    return tmp_path / "home"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDGEN_OFFLINE", "1")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds between attempts, noted rather than slept."""
    noted: list[float] = []
    monkeypatch.setattr(fetching, "sleep", noted.append)
    return noted


def safetensors(size: int = 4096, seed: int = 0) -> bytes:
    """A sound file with one tensor of ``size`` bytes that differ by ``seed``."""
    header = json.dumps({"weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    data = (hashlib.sha256(str(seed).encode()).digest() * (size // 32 + 1))[:size]
    return struct.pack("<Q", len(header)) + header + data


def file_entry(path: str, content: bytes, *urls: str) -> dict[str, Any]:
    return {"path": path, "urls": list(urls), "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def model_entry(name: str, *files: dict[str, Any], **fields: Any) -> dict[str, Any]:
    fixed = {"task": "caption", "description": f"the model {name}", "licence": "Apache-2.0", "revision": "1"}
    return {"id": name, **fixed, "architecture": {"name": "test"}, "files": list(files), **fields}


def manifest(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"schema": 1, "entries": list(entries)}).encode()
