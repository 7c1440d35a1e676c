"""Which backend runs a model, and that ONNX Runtime's needs no torch."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from PIL import Image

from condgen_cli.errors import UsageError
from condgen_cli.running.backends import Backend, choose_backend
from condgen_cli.running.bundle import Bundle

ZOO = Path(__file__).parents[2] / "zoo"
BUNDLE = Bundle("mine", "translate", "translate", {}, {}, {"encode.onnx": Path("encode.onnx")})
WITHOUT = replace(BUNDLE, files={})

LEFT_OUT = ("accelerate", "jiwer", "matplotlib", "pycocoevalcap", "sacrebleu", "tomli-w", "torch")
"""What README says that a server can leave out."""

WITHOUT_TORCH = """
import runpy, sys

class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0].replace("_", "-") in sys.argv[1].split():
            raise ModuleNotFoundError(f"imported {name}")

sys.meta_path.insert(0, Refusal())
sys.argv[:2] = ["condgen"]
runpy.run_module("condgen_cli", run_name="__main__")
"""


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONDGEN_BACKEND", raising=False)
    monkeypatch.setattr("condgen_cli.running.backends._may_have_gpu", lambda: False)


def test_graphs_are_run_on_a_cpu_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_backend(BUNDLE, None, "auto") is Backend.onnx
    assert choose_backend(BUNDLE, "auto", "cpu") is Backend.onnx
    assert choose_backend(BUNDLE, "torch", "cpu") is Backend.torch
    assert choose_backend(BUNDLE, None, "cuda") is Backend.torch
    assert choose_backend(WITHOUT, None, "cpu") is Backend.torch
    assert choose_backend(replace(BUNDLE, architecture="efficientnet-lite"), None, "cpu") is Backend.torch
    monkeypatch.setattr("condgen_cli.running.backends._may_have_gpu", lambda: True)
    assert choose_backend(BUNDLE, None, "auto") is Backend.torch
    assert choose_backend(BUNDLE, "onnx", "auto") is Backend.onnx
    assert choose_backend(BUNDLE, None, "cpu") is Backend.onnx


def test_the_environment_chooses_unless_the_command_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDGEN_BACKEND", "torch")
    assert choose_backend(BUNDLE, None, "cpu") is Backend.torch
    assert choose_backend(BUNDLE, "onnx", "cpu") is Backend.onnx
    monkeypatch.setenv("CONDGEN_BACKEND", "fortran")
    with pytest.raises(UsageError, match="CONDGEN_BACKEND is 'fortran'"):
        choose_backend(BUNDLE, None, "cpu")


@pytest.mark.parametrize(
    ("bundle", "device", "reason"),
    [(WITHOUT, "cpu", "it has no graphs"), (BUNDLE, "cuda", "it computes on the CPU, not on cuda")],
)
def test_onnx_that_cannot_be_is_refused(bundle: Bundle, device: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        choose_backend(bundle, "onnx", device)
    assert caught.value.hint == "--backend torch"


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(UsageError, match="no backend 'numpy'"):
        choose_backend(BUNDLE, "numpy", "cpu")


def without_torch(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """``condgen`` in a process in which importing torch fails."""
    command = [sys.executable, "-c", dedent(WITHOUT_TORCH), " ".join(LEFT_OUT), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def photo(folder: Path) -> str:
    path = folder / "photo.jpg"
    Image.linear_gradient("L").convert("RGB").save(path)
    return str(path)


def test_readme_lists_what_is_needed() -> None:
    project = tomllib.loads((ZOO.parent / "pyproject.toml").read_text())["project"]
    needed = {re.split("[<>=]", one)[0] for one in project["dependencies"]} - {*LEFT_OUT}
    (listed,) = re.findall(r"pip install --no-deps condgen\n +pip install ([^`]*?)\n\n", (ZOO.parent / "README.md").read_text())
    assert set(listed.replace("\\", " ").split()) == needed


COMMANDS: dict[str, list[str]] = {
    "translate": ["translate", "你好。", "--nbest", "2"],
    "caption": ["caption", "PHOTO"],
    "generate": ["generate", "-m", "poem", "春", "--temperature", "0.01"],
}


@pytest.mark.parametrize("task", COMMANDS)
def test_a_task_runs_without_torch_and_says_the_same(task: str, tmp_path: Path, condgen_env: dict[str, str]) -> None:
    arguments = [photo(tmp_path) if one == "PHOTO" else one for one in COMMANDS[task]]
    done = without_torch(*arguments, "--format", "json", env=condgen_env)
    assert done.returncode == 0, done.stderr
    whole = [sys.executable, "-m", "condgen_cli", *arguments, "--backend", "torch", "--format", "json"]
    wanted = subprocess.run(whole, env=condgen_env, capture_output=True, text=True, timeout=120, check=True)
    for mine, other in zip(json.loads(done.stdout), json.loads(wanted.stdout), strict=True):
        assert mine["output"] == other["output"]
        assert mine["score"] == pytest.approx(other["score"], abs=1e-4)


def test_maps_are_drawn_and_outputs_forced_without_torch(tmp_path: Path, condgen_env: dict[str, str]) -> None:
    done = without_torch("translate", "你好。", "--force", "Hello.", "--show-attention", env=condgen_env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Hello" in done.stdout


def test_damaged_graphs_are_found_before_they_run(tmp_path: Path, condgen_env: dict[str, str]) -> None:
    """A graph that its manifest lists correctly, but that holds what isn't allowed."""
    zoo = tmp_path / "zoo"
    manifest: dict[str, Any] = json.loads((ZOO / "manifest.json").read_text())
    entry = next(one for one in manifest["entries"] if one["id"] == "nmt-de-en-fixed")
    for file in entry["files"]:
        place = zoo / file["urls"][0]
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ZOO / file["urls"][0], place)
        if file["path"] == "step.onnx":
            content = place.read_bytes().replace(b"Gather", b"Getter")
            place.write_bytes(content)
            file["sha256"] = hashlib.sha256(content).hexdigest()
    (zoo / "manifest.json").write_text(
        json.dumps({"schema": manifest["schema"], "entries": [entry | {"id": "mine", "aliases": []}]})
    )
    command = ["--zoo", str(zoo / "manifest.json"), "translate", "-m", "mine", "hallo"]
    done = without_torch(*command, env=condgen_env)
    assert done.returncode == 6
    assert "it uses the operator 'Getter'" in done.stderr
