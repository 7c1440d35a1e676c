"""``condgen caption`` as a user meets it, with a small model of random weights."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from condgen_caption.model import build
from condgen_cli.cli import app
from condgen_cli.data.text import WordVocabulary

CONFIG = {
    "encoder": "lite0",
    "image_size": 64,
    "embedding_size": 8,
    "hidden_size": 8,
    "value_size": 8,
    "match_size": 8,
}


def make_run(folder: Path, kind: str) -> Path:
    """A training run's folder with random weights."""
    folder.mkdir()
    WordVocabulary(["a", "dog", "cat", "runs", "sleeps"]).save(folder / "vocabulary.json")
    torch.manual_seed(3)
    config = CONFIG | {"kind": kind}
    model = build(config, {"vocabulary.json": folder / "vocabulary.json"})
    save_file(model.state_dict(), folder / "model.safetensors")
    description = {
        "architecture": {"name": "caption", "config": config},
        "task": "caption",
        "decoding": {"beam": 2, "max_length": 5},
        "files": ["vocabulary.json", "model.safetensors"],
    }
    (folder / "model.json").write_text(json.dumps(description))
    return folder


@pytest.fixture(scope="module")
def sat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "sat-run", "sat")


@pytest.fixture(scope="module")
def nic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "nic-run", "nic")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two photos, a broken one and a text, which is the working directory."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.linear_gradient("L").convert("RGB").resize((80, 60)).save(folder / "2.jpg")
    Image.radial_gradient("L").convert("RGB").save(folder / "10.png")
    (folder / "broken.jpg").write_bytes((folder / "2.jpg").read_bytes()[:400])
    (folder / "notes.txt").write_text("no photo")
    monkeypatch.chdir(folder)
    return folder


Outcome = tuple[int, str, str]


@pytest.fixture
def caption(sat: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs the command in this process: exit code, stdout, stderr."""

    def run(*arguments: str, model: Path = sat) -> Outcome:
        code = app.run(["caption", "-m", str(model), *arguments])
        return code, *capsys.readouterr()

    return run


def test_one_photo_gives_its_caption_alone(photos: Path, caption: Callable[..., Outcome]) -> None:
    code, out, err = caption("2.jpg")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 1
    assert set(out.split()) <= {"a", "dog", "cat", "runs", "sleeps"}


def test_a_directory_gives_a_line_for_each_photo(photos: Path, caption: Callable[..., Outcome]) -> None:
    alone = [caption(name)[1].strip() for name in ("2.jpg", "10.png")]
    code, out, err = caption(".")
    assert code == 4
    assert out.splitlines() == [f"./2.jpg: {alone[0]}", f"./10.png: {alone[1]}"]
    assert err.splitlines()[0].startswith("error: ./broken.jpg is a broken image: ")
    assert caption("*.png")[1] == f"{alone[1]}\n"


def test_exit_codes_of_failures(photos: Path, caption: Callable[..., Outcome]) -> None:
    code, out, err = caption("20.jpg")
    assert (code, out) == (3, "")
    assert err.splitlines() == ["error: 20.jpg does not exist", "hint: did you mean: 2.jpg, 10.png"]
    assert caption("notes.txt", "absent.jpg")[0] == 1, "all failed: the first error's own code"
    assert caption("absent.jpg", "2.jpg")[0] == 4
    assert caption("2.jpg", model=photos)[0] == 3
    assert caption()[0] == 2


def test_json_holds_outputs_attention_and_errors(photos: Path, caption: Callable[..., Outcome]) -> None:
    code, out, _ = caption("2.jpg", "broken.jpg", "--format", "json")
    first, second = json.loads(out)
    assert code == 4
    assert list(first) == list(second) == ["input", "output", "score", "mean_log_prob", "attention", "error", "warnings"]
    assert (first["input"], first["error"]) == ("2.jpg", None)
    axes = first["attention"]["attention"]["axes"]
    assert [axis["kind"] for axis in axes] == ["tokens", "grid", "grid"]
    assert len(first["attention"]["attention"]["weights"]) == len(axes[0]["labels"])
    assert (second["output"], second["score"], second["attention"], second["error"]["code"]) == (None, None, None, 1)
    code, out, _ = caption("2.jpg", "--format", "json", model=photos)
    assert json.loads(out)["error"]["code"] == code == 3


def test_json_lines_go_to_a_file(photos: Path, caption: Callable[..., Outcome]) -> None:
    code, out, err = caption("2.jpg", "10.png", "--format", "jsonl", "-o", "out.jsonl", "--nbest", "2")
    assert (code, out, err) == (0, "", "")
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [row["input"] for row in rows] == ["2.jpg", "2.jpg", "10.png", "10.png"]
    assert rows[0]["score"] >= rows[1]["score"]
    code, _, err = caption("2.jpg", "-o", "no/folder/out.txt")
    assert code == 3
    assert "cannot write no/folder/out.txt: the folder no/folder does not exist" in err


def test_a_model_without_attention(photos: Path, caption: Callable[..., Outcome], nic: Path) -> None:
    _, out, _ = caption("2.jpg", "--format", "json", model=nic)
    assert json.loads(out)[0]["attention"] is None
    code, out, err = caption("2.jpg", "10.png", "--show-attention", model=nic)
    assert (code, len(out.splitlines())) == (0, 2)
    assert "warning: nic-run has no attention to show\n" in err
    code, out, err = caption("2.jpg", "--save-attention", "map.png", model=nic)
    assert code == 2
    assert out.strip(), "the caption is printed all the same"
    assert "no attention" in err


def test_attention_is_shown_in_ascii_in_a_pipe(photos: Path, caption: Callable[..., Outcome]) -> None:
    plain = caption("2.jpg")[1]
    code, out, _ = caption("2.jpg", "--show-attention")
    assert code == 0
    assert out.startswith(plain)
    assert len(out.splitlines()) > len(plain.split())
    assert out.isascii()
    assert "\x1b" not in out


def test_attention_is_saved_for_each_input(photos: Path, caption: Callable[..., Outcome]) -> None:
    (photos / "sub").mkdir()
    Image.new("RGB", (9, 9)).save("sub/2.png")
    assert caption("2.jpg", "10.png", "sub/2.png", "--save-attention", "{stem}.json")[0] == 0
    assert {path.name for path in photos.glob("*.json")} == {"2.json", "10.json", "2-2.json"}


def test_several_inputs_need_a_stem(photos: Path, caption: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "condgen_cli.running.runner.load", lambda *_: pytest.fail("a model was loaded before the options' check")
    )
    code, _, err = caption("2.jpg", "10.png", "--save-attention", "map.png")
    assert code == 2
    assert "hint: --save-attention map-{stem}.png" in err
    assert caption("2.jpg", "--save-attention", "map.gif")[0] == 2
    assert caption("2.jpg", "--save-attention", "absent/map.png")[0] == 3
    assert caption("2.jpg", "--sample", "--beam", "3")[0] == 2
    assert caption("2.jpg", "--force", "a dog", "--nbest", "3")[0] == 2


def test_decoding_options(photos: Path, caption: Callable[..., Outcome]) -> None:
    five = caption("2.jpg", "--beam", "5", "--nbest", "5")[1].splitlines()
    assert len(set(five)) == 5
    assert len(caption("2.jpg", "--nbest", "4")[1].splitlines()) == 4, "the beam grows with what is asked for"
    assert caption("2.jpg", "--force", "a cat sleeps")[1] == "a cat sleeps\n"
    assert len(caption("2.jpg", "--max-length", "1")[1].split()) == 1

    def sampled(seed: str) -> list[str]:
        return caption("2.jpg", "--sample", "--nbest", "6", "--temperature", "3", "--seed", seed)[1].splitlines()

    assert len(sampled("1")) == 6
    assert sampled("1") == sampled("1")
    assert sampled("1") != sampled("2")


def test_a_photo_on_stdin(photos: Path, caption: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = caption("2.jpg")[1]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path("2.jpg").read_bytes())))
    assert caption("-", "--save-attention", "{stem}.npz")[:2] == (0, expected)
    assert Path("stdin.npz").is_file()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert caption("-")[2] == "error: standard input is empty\n"


@pytest.fixture
def server(photos: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(photos))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()


def test_photos_at_urls(server: str, caption: Callable[..., Outcome], sat: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = caption(f"{server}/2.jpg", "2.jpg")
    remote, local = out.splitlines()
    assert code == 0
    assert remote.removeprefix(f"{server}/") == local
    assert app.run(["--offline", "caption", "-m", str(sat), f"{server}/2.jpg"]) == 7
    assert capsys.readouterr().err.startswith("error: ")


def test_a_fresh_process_imports_nothing_slow(photos: Path, sat: Path) -> None:
    code = (
        "import sys; from condgen_cli.cli.app import run; code = run(sys.argv[1:]);"
        "slow = {'accelerate', 'matplotlib', 'scipy', 'sacrebleu', 'pycocoevalcap', 'urllib3', 'fsspec', 'pandas', 'sympy',"
        " 'torch._dynamo', 'torch._inductor', 'rich'} & set(sys.modules); sys.exit(f'imported {slow}' if slow else code)"
    )
    command = [sys.executable, "-c", code, "caption", "-m", str(sat), "2.jpg", "10.png"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["2.jpg", "10.png"]


def test_a_reader_that_leaves(photos: Path, sat: Path) -> None:
    command = [sys.executable, "-m", "condgen_cli", "caption", "-m", str(sat), "2.jpg", "10.png", "--batch-size", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 1
