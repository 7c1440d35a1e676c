"""The zoo as users see it: commands against a real server, their output and exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from condgen_cli import settings
from condgen_cli.cli.app import run
from condgen_cli.errors import CondgenError, IntegrityError, NetworkError, NotFoundError
from condgen_cli.zoo import Zoo, open_zoo
from condgen_cli.zoo.sources import local_source
from condgen_cli.zoo.store import Store
from tests.zoo.conftest import Server, answering, file_entry, manifest, model_entry, redirecting, safetensors, stalling

WEIGHTS = safetensors(400_000)
VOCABULARY = b'["a", "b"]'
OTHER = safetensors(64, seed=1)


@pytest.fixture
def remote(server: Server) -> str:
    """A zoo on the server: ``toy`` and ``twin`` share their vocabulary."""
    shared = file_entry("vocabulary.json", VOCABULARY, "files/v.json")
    toy = model_entry(
        "toy", file_entry("model.safetensors", WEIGHTS, "files/w"), shared, aliases=["first"], card="cards/toy.md"
    )
    twin = model_entry("twin", file_entry("model.safetensors", OTHER, "files/o"), shared)
    server.files.update({"/zoo/files/w": WEIGHTS, "/zoo/files/v.json": VOCABULARY, "/zoo/files/o": OTHER})
    server.files["/zoo/cards/toy.md"] = b"# Toy\n\n\x1b[31mred\n"
    server.files["/zoo/manifest.json"] = manifest(toy, twin)
    return server.url("/zoo/manifest.json")


def beside(folder: Path, *entries: dict[str, Any], **files: bytes) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "manifest.json").write_bytes(manifest(*entries))
    return folder


def blobs(home: Path) -> list[Path]:
    return sorted(path for path in home.glob("blobs/sha256/*/*") if not path.name.startswith("."))


def documents(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def states(remote: str, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    capsys.readouterr()
    assert run(["--zoo", remote, "list", "--format", "json"]) == 0
    return {row["id"]: row["state"] for row in documents(capsys)["models"] if row["source"] == remote}


def test_pull_list_verify_rm(server: Server, remote: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert states(remote, capsys) == {"toy": "remote", "twin": "remote"}
    assert run(["--zoo", remote, "pull", "first"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "toy: installed, verified\n"
    assert "\x1b" not in captured.err
    assert states(remote, capsys) == {"toy": "installed", "twin": "partial"}
    assert run(["--zoo", remote, "verify", "toy"]) == 0
    assert capsys.readouterr().out.count("ok") == 2
    assert run(["--zoo", remote, "pull", "twin"]) == 0
    assert server.ranges("/zoo/files/v.json") == [None]
    assert run(["--zoo", remote, "rm", "toy"]) == 0
    assert states(remote, capsys) == {"toy": "partial", "twin": "installed"}
    assert run(["--zoo", remote, "rm", "twin"]) == 0
    assert blobs(home) == []


def test_a_pulled_model_works_without_network(remote: str, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--zoo", remote, "pull", "toy"]) == 0
    before = len(server.requests)
    assert run(["--offline", "--zoo", remote, "pull", "toy", "--format", "json"]) == 0
    assert run(["--offline", "--zoo", remote, "pull", "twin"]) == 7
    assert "network is off" in capsys.readouterr().err
    assert len(server.requests) == before


def test_a_zoo_that_was_never_seen_needs_the_network(remote: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--offline", "--zoo", remote, "list"]) == 7
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "hint: " in error


def test_an_unreachable_zoo_is_used_as_last_seen(server: Server, remote: str, waits: list[float], capsys: Any) -> None:
    assert run(["--zoo", remote, "pull", "toy"]) == 0
    server.behaviours["/zoo/manifest.json"] = answering(503)
    assert run(["--zoo", remote, "verify", "toy"]) == 0
    assert "warning: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "behaviour", "code"),
    [
        ("/zoo/files/w", answering(404), 3),
        ("/zoo/files/w", lambda handler, content: handler.respond(200, content[::-1]), 6),
        ("/zoo/files/w", lambda handler, content: handler.respond(200, content + b"!"), 6),
        ("/zoo/files/w", lambda handler, content: handler.respond(200, content, Content_Length=str(len(content) + 9)), 6),
        ("/zoo/files/w", answering(503), 7),
        ("/zoo/files/w", answering(401), 7),
        ("/zoo/files/w", redirecting("/zoo/files/w"), 7),
        ("/zoo/manifest.json", answering(404), 3),
        ("/zoo/manifest.json", answering(500), 7),
        ("/zoo/manifest.json", lambda handler, content: handler.respond(200, b"<html>"), 6),
        ("/zoo/manifest.json", lambda handler, content: handler.respond(200, b'{"schema": 99}'), 6),
    ],
)
def test_faults_end_in_one_line_and_an_exit_code(
    server: Server, remote: str, home: Path, waits: list[float], capsys: Any, path: str, behaviour: Any, code: int
) -> None:
    server.behaviours[path] = behaviour
    assert run(["--zoo", remote, "pull", "toy", "--format", "json"]) == code
    captured = capsys.readouterr()
    assert captured.err.count("error: ") == 1
    assert "Traceback" not in captured.err
    assert json.loads(captured.out)["error"]["code"] == code
    assert all(blob.read_bytes() in (WEIGHTS, VOCABULARY) for blob in blobs(home) if blob.suffix != ".part")


def test_unknown_models(remote: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--zoo", remote, "pull", "twim"]) == 3
    assert "twin" in capsys.readouterr().err
    assert run(["--zoo", remote, "pull", "nothing", "twin", "--format", "json"]) == 4
    captured = capsys.readouterr()
    rows = json.loads(captured.out)["models"]
    assert [row["error"] and row["error"]["code"] for row in rows] == [3, None]


def test_show(remote: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--zoo", remote, "show", "first"]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    for word in ("the model toy", "Apache-2.0", "model.safetensors", "400.1 kB", "remote", "# Toy"):
        assert word in text
    assert run(["--zoo", remote, "show", "first", "--format", "json"]) == 0
    assert documents(capsys)["files"][1]["size"] == len(VOCABULARY)


def test_show_compares_with_what_others_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score = {"dataset": "flickr8k", "split": "test", "metric": "bleu4"}
    ours = score | {"value": 23.4, "interval": [22.5, 24.25], "n": 1000}
    theirs = score | {"system": "Xu et al. 2015", "value": 19.5, "source": "Table 1"}
    zoo = beside(tmp_path / "zoo", model_entry("toy", results=[ours], references=[theirs]))
    assert run(["--zoo", str(zoo), "show", "toy"]) == 0
    text = capsys.readouterr().out
    assert "22.50 to 24.25" in text
    assert text.index("23.40") < text.index("19.50")


def test_damage_is_found_told_and_repaired(remote: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--zoo", remote, "pull", "toy"]) == 0
    damaged = max(blobs(home), key=lambda blob: blob.stat().st_size)
    damaged.write_bytes(WEIGHTS[:-1] + b"?")
    capsys.readouterr()
    assert run(["--zoo", remote, "verify", "--format", "json"]) == 6
    captured = capsys.readouterr()
    problems = [row["file"] for row in json.loads(captured.out)["files"] if row["problem"]]
    assert problems == ["model.safetensors"]
    assert "hint: condgen pull toy" in captured.err
    with pytest.raises(IntegrityError, match="damaged"):
        open_with(remote, home).files(open_with(remote, home).entry("toy"))
    assert run(["--zoo", remote, "pull", "toy"]) == 0
    assert damaged.read_bytes() == WEIGHTS


def open_with(zoo: str | Path, home: Path) -> Zoo:
    settings.use(settings.Settings(zoos=(str(zoo),), home=home))
    return open_zoo()


def test_a_malformed_header_is_refused_although_the_hash_matches(server: Server, remote: str, home: Path, capsys: Any) -> None:
    bad = WEIGHTS[:8] + b"?" + WEIGHTS[9:]
    server.files["/zoo/files/w"] = bad
    server.files["/zoo/manifest.json"] = manifest(model_entry("toy", file_entry("model.safetensors", bad, "files/w")))
    assert run(["--zoo", remote, "pull", "toy"]) == 6
    assert "not a valid safetensors file" in capsys.readouterr().err
    assert blobs(home) == []


def test_files_beside_the_manifest_are_used_in_place(tmp_path: Path, home: Path) -> None:
    toy = model_entry("toy", file_entry("model.safetensors", WEIGHTS, "w"))
    zoo = open_with(beside(tmp_path / "zoo", toy, w=WEIGHTS), home)
    entry = zoo.entry("toy")
    assert zoo.files(entry) == {"model.safetensors": tmp_path / "zoo" / "w"}
    assert zoo.state(entry) == "local"
    assert not home.exists()
    (tmp_path / "zoo" / "w").write_bytes(WEIGHTS[:-1] + b"?")
    with pytest.raises(IntegrityError, match="damaged"):
        zoo.files(entry)
    (tmp_path / "zoo" / "w").unlink()
    with pytest.raises(NotFoundError, match="missing"):
        zoo.files(entry)


def test_a_damaged_file_in_place_is_got_elsewhere(server: Server, remote: str, tmp_path: Path, home: Path) -> None:
    toy = model_entry("toy", file_entry("model.safetensors", WEIGHTS, "w", server.url("/zoo/files/w")))
    zoo = open_with(beside(tmp_path / "zoo", toy, w=WEIGHTS[:100]), home)
    assert zoo.files(zoo.entry("toy"))["model.safetensors"].read_bytes() == WEIGHTS


def test_links_that_lead_out_are_refused(tmp_path: Path, home: Path, remote: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "outside").write_bytes(WEIGHTS)
    folder = beside(tmp_path / "zoo", model_entry("toy", file_entry("model.safetensors", WEIGHTS, "w")))
    (folder / "w").symlink_to("../outside")
    zoo = open_with(folder, home)
    with pytest.raises(IntegrityError, match="link"):
        zoo.files(zoo.entry("toy"))
    assert run(["--zoo", remote, "pull", "toy"]) == 0
    blob = max(blobs(home), key=lambda path: path.stat().st_size)
    blob.unlink()
    blob.symlink_to(tmp_path / "outside")
    assert run(["--zoo", remote, "pull", "toy"]) == 6
    assert "link" in capsys.readouterr().err
    assert (tmp_path / "outside").exists()


def test_a_remote_manifest_may_not_name_files_of_this_machine(server: Server, remote: str, tmp_path: Path, home: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    server.files["/zoo/manifest.json"] = manifest(model_entry("toy", file_entry("x", b"secret", secret.as_uri())))
    with pytest.raises(IntegrityError, match="file on this machine"):
        open_with(remote, home).entries()


def test_earlier_manifests_win(tmp_path: Path, home: Path) -> None:
    first = beside(tmp_path / "a", model_entry("one", aliases=["two"]), model_entry("three"))
    second = beside(tmp_path / "b", model_entry("two"), model_entry("four", aliases=["three", "five"]))
    zoo = Zoo([local_source(first), local_source(second)], Store(home))
    assert [entry.id for entry in zoo.entries()] == ["one", "three", "four"]
    assert {name: zoo.entry(name).id for name in ("two", "three", "five")} == {"two": "one", "three": "three", "five": "four"}


def test_an_entry_for_a_newer_condgen(tmp_path: Path, home: Path) -> None:
    zoo = open_with(beside(tmp_path / "zoo", model_entry("toy", requires={"condgen": "999.1"})), home)
    with pytest.raises(CondgenError, match=r"needs condgen 999\.1"):
        zoo.files(zoo.entry("toy"))


def test_no_manifest_at_a_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--zoo", str(tmp_path / "none"), "list"]) == 3
    assert "no manifest at" in capsys.readouterr().err


def test_a_zoo_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("CONDGEN_ZOO", str(beside(tmp_path / "zoo", model_entry("toy"))))
    assert run(["list"]) == 0
    assert "toy" in capsys.readouterr().out


@pytest.mark.usefixtures("offline")
def test_bundled_models_need_no_network_and_no_store(home: Path) -> None:
    zoo = open_zoo()
    for entry in zoo.entries():
        assert zoo.state(entry) == "bundled"
        assert set(zoo.files(entry)) == {file.path for file in entry.files}
        assert entry.card is None or zoo.card(entry)
    assert not home.exists()


@pytest.mark.parametrize("home_is", ["file", "proc"])
def test_a_store_that_cannot_be_written_to(remote: str, tmp_path: Path, monkeypatch: Any, capsys: Any, home_is: str) -> None:
    (tmp_path / "file").write_text("")
    place = {"file": tmp_path / "file" / "home", "proc": Path("/proc/self")}[home_is]
    if not place.parent.exists():
        pytest.skip("no /proc")
    monkeypatch.setenv("CONDGEN_HOME", str(place))
    assert run(["--zoo", remote, "pull", "toy"]) == 1
    error = capsys.readouterr().err
    assert "cannot write to" in error
    assert "hint: set CONDGEN_HOME" in error


PULL = """
import os, sys
from pathlib import Path
import urllib3
from condgen_cli.zoo.catalogue import Zoo
from condgen_cli.zoo.sources import remote_source
from condgen_cli.zoo.store import Store

def pull():
    store = Store(Path(sys.argv[2]))
    zoo = Zoo([remote_source(sys.argv[1], store, offline=False)], store)
    path = zoo.pull(zoo.entry("toy"))["model.safetensors"]
    os.write(1, f"{path}\\n".encode())  # one write, so that lines of several processes don't mix

def fork():
    child = os.fork()  # imports are done once, threads and connections start afterwards
    if child == 0:
        try:
            pull()
            os._exit(0)
        finally:
            os._exit(1)
    return child

children = [fork() for _ in range(int(sys.argv[3]))]
if not children:
    pull()
assert "torch" not in sys.modules
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


def pulling(remote: str, home: Path, processes: int = 0) -> subprocess.Popen[str]:
    """One process that pulls ``toy``, or so many that it forks."""
    command = [sys.executable, "-c", PULL, remote, str(home), str(processes)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    deadline = time.monotonic() + 120
    while not (value := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing happens"
        time.sleep(0.02)
    return value


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_pull_is_resumed(server: Server, remote: str, home: Path) -> None:
    server.behaviours["/zoo/files/w"] = stalling(300_000)
    process = pulling(remote, home)
    parts = wait_for(lambda: [path for path in home.rglob("*.part") if path.stat().st_size], process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    arrived = parts[0].stat().st_size
    assert 0 < arrived < len(WEIGHTS)
    assert not parts[0].with_suffix("").exists()

    zoo = open_with(remote, home)
    assert zoo.state(zoo.entry("toy")) == "remote"
    assert zoo.pull(zoo.entry("toy"))["model.safetensors"].read_bytes() == WEIGHTS
    assert server.ranges("/zoo/files/w") == [None, f"bytes={arrived}-"]
    assert list(home.rglob("*.part")) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_ten_processes_pull_one_model(server: Server, remote: str, home: Path) -> None:
    server.behaviours["/zoo/files/w"] = stalling(300_000)
    process = pulling(remote, home, 10)
    wait_for(lambda: len(server.ranges("/zoo/manifest.json")) == 10 and server.ranges("/zoo/files/w"), process)
    server.release.set()  # the one that has the lock is cut off and goes on; the others still wait for it
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    paths = output.split()
    assert len(paths) == 10, (output, errors)
    assert len(set(paths)) == 1
    assert Path(paths[0]).read_bytes() == WEIGHTS
    assert len(blobs(home)) == 2
    assert len(server.ranges("/zoo/files/w")) == 2
    assert len(server.ranges("/zoo/files/v.json")) == 1


def test_errors_are_of_their_class(server: Server, remote: str, home: Path, waits: list[float]) -> None:
    server.behaviours["/zoo/files/w"] = answering(503)
    zoo = open_with(remote, home)
    with pytest.raises(NetworkError):
        zoo.files(zoo.entry("toy"))
