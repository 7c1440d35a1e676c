"""Machines as they are: no home directory, no locks, a store of somebody else's, servers that are silent, proxies."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from condgen_cli.cli.app import run
from condgen_cli.errors import CondgenError
from condgen_cli.files import fetch as fetching
from condgen_cli.files import locks, proxies, waiting
from condgen_cli.zoo import sources
from tests.zoo.conftest import Server, answering, file_entry, manifest, model_entry, safetensors

WEIGHTS = safetensors(4000)

NO_ACCOUNT = """
import os, pwd, sys
os.environ.pop("HOME", None)
def missing(user):
    raise KeyError(user)
pwd.getpwuid = missing
from condgen_cli.__main__ import main
main()
"""
"""The command for a user without an account or a home, as in a container that is run with any number."""

NO_LOCKS = """
import errno, fcntl
def refuse(*arguments):
    raise OSError(errno.{error}, "no locks here")
fcntl.flock = refuse
from condgen_cli.__main__ import main
main()
"""
"""The command on a file system that has no locks."""


def condgen(*arguments: str, program: str = "", before: tuple[str, ...] = (), **variables: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command in a process of its own."""
    command = [*before, sys.executable, *(["-c", program] if program else ["-m", "condgen_cli"]), *arguments]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def remote(server: Server) -> str:
    """A zoo on the server that has ``toy``."""
    server.files["/zoo/w"] = WEIGHTS
    server.files["/zoo/manifest.json"] = manifest(model_entry("toy", file_entry("model.safetensors", WEIGHTS, "w")))
    return server.url("/zoo/")


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds that servers get, in hundredths, so that tests are fast; their order stays."""
    monkeypatch.setattr(waiting, "PATIENCE", 0.02)
    monkeypatch.setattr(sources, "SEEN_SECONDS", 0.1)
    monkeypatch.setattr(sources, "ANSWER_SECONDS", 0.2)


@pytest.mark.skipif(sys.platform == "win32", reason="no accounts by number")
def test_what_needs_no_store_needs_no_home(remote: str) -> None:
    code, out, err = condgen("verify", "sat", program=NO_ACCOUNT, CONDGEN_HOME="")
    assert (code, err) == (0, "")
    assert "vocabulary.json" in out
    code, out, err = condgen("--zoo", remote, "list", "--format", "json", program=NO_ACCOUNT, CONDGEN_HOME="")
    assert (code, err) == (0, "")
    assert '"state": "remote"' in out
    code, out, err = condgen("--zoo", remote, "pull", "toy", program=NO_ACCOUNT, CONDGEN_HOME="")
    assert (code, out) == (1, "")
    assert err == "error: there is no home directory to keep downloads in\nhint: set CONDGEN_HOME to a folder\n"


@pytest.mark.parametrize("value", ["false", "0", "", "no", "OFF"])
def test_offline_that_is_off(remote: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDGEN_OFFLINE", value)
    assert run(["--zoo", remote, "pull", "toy"]) == 0


@pytest.mark.parametrize("value", ["1", "true", "Yes", "on"])
def test_offline_that_is_on(remote: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDGEN_OFFLINE", value)
    assert run(["--zoo", remote, "pull", "toy"]) == 7


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["--zoo", "REMOTE", "pull", "toy"], {"CONDGEN_HOME": "~nosuchuser/x"}),
        (["data", "pull", "flickr8k"], {"CONDGEN_HOME": "~nosuchuser/x"}),
        (["list"], {"CONDGEN_OFFLINE": "maybe"}),
        (["--offline", "--debug", "list"], {"CONDGEN_OFFLINE": "\x1b[2J"}),
        (["--zoo", "~nosuchuser/x", "list"], {}),
        (["list"], {"CONDGEN_ZOO": "~nosuchuser/x"}),
        (["eval", "sat", "--dataset", "flickr8k"], {"CONDGEN_DATA": "~nosuchuser/x"}),
    ],
    ids=str,
)
def test_settings_that_cannot_be_read_are_one_line(
    remote: str, arguments: list[str], variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert run([remote if argument == "REMOTE" else argument for argument in arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1
    assert "unexpected" not in errors[0]
    assert not any("Traceback" in line or "\x1b" in line for line in lines)
    assert run(["--help"]) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no flock")
@pytest.mark.parametrize("error", ["ENOSYS", "ENOLCK", "EOPNOTSUPP"])
def test_a_file_system_without_locks(server: Server, remote: str, home: Path, error: str) -> None:
    """Locks that a killed process has left don't count there, and what arrived is gone on with."""
    blob = sources.Store(home).path(sources.parse_manifest(server.files["/zoo/manifest.json"], "").entries[0].files[0])
    blob.parent.mkdir(parents=True)
    (blob.parent / f".{blob.name}.lock").touch()
    (blob.parent / f"{blob.name}.part").write_bytes(WEIGHTS[:100])
    code, out, _ = condgen("--zoo", remote, "pull", "toy", program=NO_LOCKS.format(error=error))
    assert (code, out) == (0, "toy: installed, verified\n")
    assert blob.read_bytes() == WEIGHTS
    assert server.ranges("/zoo/w") == ["bytes=100-"]
    assert {path.name for path in blob.parent.iterdir()} == {blob.name, f".{blob.name}.lock"}


@pytest.mark.skipif(sys.platform == "win32", reason="no flock")
def test_what_a_killed_process_left_where_there_are_no_locks(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_has_locks", lambda file: False)
    server.files["/w"] = WEIGHTS
    destination = tmp_path / "w"
    with locks.partial_file(destination) as part:
        part.write_bytes(WEIGHTS[:70])
        with locks.partial_file(destination) as other:  # nobody waits, and nobody takes what is being written
            assert other != part
            assert not other.exists()
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        host, _, token = part.name.removeprefix("w.part.").rsplit(".", 2)
        part.rename(part.with_name(f"w.part.{host}.{ended.pid}.{token}"))
    fetching.fetch(server.url("/w"), destination, size=len(WEIGHTS), sha256=hashlib.sha256(WEIGHTS).hexdigest())
    assert server.ranges("/w") == ["bytes=70-"]
    assert locks.leftovers(destination) == []


def test_a_process_that_holds_a_lock_and_does_nothing_is_not_waited_for(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, impatient: None
) -> None:
    from filelock import FileLock

    monkeypatch.setattr(locks, "STALLED_SECONDS", 0.3)
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.05)
    with FileLock(tmp_path / ".w.lock"), pytest.raises(CondgenError, match="another process is downloading"):
        fetching.fetch(server.url("/w"), tmp_path / "w")
    assert "waiting for another process that downloads w" in capsys.readouterr().err
    assert server.requests == []


@pytest.mark.skipif(sys.platform == "win32", reason="no umask")
def test_a_store_of_another_user(remote: str, home: Path) -> None:
    """Files follow the umask; who may not read them is told in one line, and may use what needs no store."""
    masked = "import os; os.umask(0o077); from condgen_cli.__main__ import main; main()"
    assert condgen("--zoo", remote, "pull", "toy", program=masked)[0] == 0
    assert {path.stat().st_mode & 0o077 for path in home.rglob("*")} == {0}
    blobs = home / "blobs" / "sha256"
    before: tuple[str, ...] = ()
    if os.geteuid() == 0:  # who is told apart from others only without the privilege to read everything
        if not shutil.which("setpriv"):
            pytest.skip("no setpriv")
        before = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
        for path in (home, *home.rglob("*")):
            os.chown(path, 12345, 12345)
    else:
        blobs.chmod(0)
    try:
        code, out, err = condgen("--zoo", remote, "pull", "toy", before=before)
        assert (code, out) == (1, "")
        assert err.splitlines()[0] == f"error: the store {home} holds files that only another user may read"
        assert f"chmod -R a+rX {home}" in err
        code, out, err = condgen("--zoo", remote, "list", "--format", "json", before=before)
        assert (code, err) == (0, "")
        assert '"id": "toy"' in out
        assert condgen("--zoo", remote, "verify", "sat", before=before)[::2] == (0, "")
    finally:
        blobs.chmod(0o700)


def test_the_store_follows_the_umask(remote: str, home: Path) -> None:
    masked = "import os; os.umask(0o002); from condgen_cli.__main__ import main; main()"
    assert condgen("--zoo", remote, "pull", "toy", program=masked)[0] == 0
    assert {path.stat().st_mode & 0o777 for path in home.rglob("*")} == {0o775, 0o664}


def test_a_silent_server_costs_seconds_and_no_bundled_model(silent: str, impatient: None, capsys: Any) -> None:
    zoo = f"http://{silent}/zoo/"
    assert run(["--zoo", zoo, "pull", "sat"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "sat: bundled, verified\n"
    assert captured.err.splitlines() == [
        f"waiting for {silent} …",
        f"warning: {zoo}manifest.json: the server does not answer in time; sat is the model of condgen",
    ]
    assert run(["--zoo", zoo, "pull", "toy", "--format", "json"]) == 7
    assert run(["--zoo", zoo, "list"]) == 7


def test_silent_servers_are_asked_together_and_once(silent: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    asked: list[str] = []
    there = threading.Barrier(2, timeout=60)

    def ask(url: str, *_: Any, **__: Any) -> bytes:
        asked.append(url)
        there.wait()
        raise sources.NetworkError(f"{url}: silence")

    monkeypatch.setattr(sources, "fetch_bytes", ask)
    zoos = [f"http://{silent}/{name}/" for name in "ab"]
    assert run(["--zoo", zoos[0], "--zoo", zoos[1], "verify", "sat", "sat"]) == 0
    assert sorted(asked) == [f"{zoo}manifest.json" for zoo in zoos]
    assert capsys.readouterr().err.count("silence") == 2


def test_the_last_copy_is_used_after_one_attempt(server: Server, remote: str, waits: list[float], capsys: Any) -> None:
    assert run(["--zoo", remote, "pull", "toy"]) == 0
    page = b"<!DOCTYPE html><title>Log in</title>"
    behaviours = [answering(503), answering(503, Retry_After="9"), lambda handler, content: handler.respond(200, page)]
    for behaviour in behaviours:
        capsys.readouterr()
        before = len(server.ranges("/zoo/manifest.json"))
        server.behaviours["/zoo/manifest.json"] = behaviour
        assert run(["--zoo", remote, "verify", "toy"]) == 0
        assert capsys.readouterr().err.count("using the copy of an earlier download") == 1
        assert len(server.ranges("/zoo/manifest.json")) == before + 1
    assert waits == []


def test_a_wait_between_attempts_is_told(server: Server, remote: str, waits: list[float], capsys: Any) -> None:
    server.behaviours["/zoo/w"] = answering(503, 1, Retry_After="7")
    assert run(["--zoo", remote, "pull", "toy"]) == 0
    assert "the server answers 503; trying again in 7 seconds" in capsys.readouterr().err
    assert waits == [7]


def test_a_proxy_without_a_scheme(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The server takes the proxy's place: it is asked for whole URLs."""
    address = server.url("").removeprefix("http://")
    server.files["http://models.example/w"] = WEIGHTS
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTP_PROXY", address)
    assert fetching.fetch("http://models.example/w", tmp_path / "w").read_bytes() == WEIGHTS
    monkeypatch.delenv("HTTP_PROXY")
    monkeypatch.setenv("ALL_PROXY", address)
    assert fetching.fetch("http://models.example/w", tmp_path / "v").read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("127.0.0.1:{free}", "cannot connect to the proxy 127.0.0.1:{free} (HTTP_PROXY)"),
        ("nowhere.invalid:3128", "cannot connect to the proxy nowhere.invalid:3128 (HTTP_PROXY)"),
        ("http://me:secret@{silent}", "asked through the proxy {silent} (HTTP_PROXY)"),
        ("socks5://127.0.0.1:1", "HTTP_PROXY names a socks5 proxy"),
        ("http://127.0.0.1:port", "HTTP_PROXY is not the address of a proxy"),
        ("http://", "HTTP_PROXY is not the address of a proxy"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named(
    silent: str, impatient: None, monkeypatch: pytest.MonkeyPatch, capsys: Any, value: str, told: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        free = unused.getsockname()[1]
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTP_PROXY", value.format(free=free, silent=silent))
    assert run(["--zoo", "http://models.example/zoo/", "show", "toy"]) == 7
    err = capsys.readouterr().err
    assert told.format(free=free, silent=silent) in err
    assert "secret" not in err


def test_a_proxy_that_refuses(server: Server, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTP_PROXY", server.url(""))
    server.behaviours["http://models.example/zoo/manifest.json"] = answering(407)
    assert run(["--zoo", "http://models.example/zoo/", "show", "toy"]) == 7
    assert "(HTTP_PROXY) wants a user and a password" in capsys.readouterr().err


@pytest.mark.parametrize(("status", "told"), [(407, "wants a user and a password"), (403, "answers 403")])
def test_a_proxy_that_refuses_a_tunnel(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: Any, status: int, told: str
) -> None:
    seen: list[str | None] = []

    def refuse(handler: Any, content: bytes) -> None:
        seen.append(handler.headers.get("Proxy-Authorization"))
        handler.respond(status, b"")

    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTPS_PROXY", server.url("").replace("//", "//me:p%40ss@"))
    server.behaviours["models.example:443"] = refuse
    assert run(["--zoo", "https://models.example/zoo/", "show", "toy"]) == 7
    assert f"(HTTPS_PROXY) {told}" in capsys.readouterr().err
    assert set(seen) == {f"Basic {base64.b64encode(b'me:p@ss').decode()}"}


def test_no_proxy_is_obeyed(server: Server, remote: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HTTP_PROXY", "nowhere.invalid:3128")
    assert proxies.proxy_for(remote) is None
    assert run(["--zoo", remote, "pull", "toy"]) == 0
