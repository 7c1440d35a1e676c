"""``condgen export``: plain ONNX that runs without condgen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from condgen_cli.running.runner import load

pytest.importorskip("onnx")


def test_a_model_runs_anywhere(tmp_path: Path, condgen: Any) -> None:
    folder = tmp_path / "model"
    done = condgen("export", "nmt-de-en-context", "-o", str(folder))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(folder / name) for name in FILES]
    assert all((folder / name).is_file() for name in FILES)
    absent = "import runpy, sys; sys.modules.update(dict.fromkeys(('torch', 'condgen_cli', 'onnx')))"
    program = f"{absent}; runpy.run_path(sys.argv[1])"
    ran = subprocess.run(
        [sys.executable, "-c", program, str(folder / "example.py")], capture_output=True, text=True, check=True
    )
    runner = load("nmt-de-en-context", "cpu", "torch")
    wanted = runner(runner.model.example(), method="greedy")
    assert ran.stdout.split() == [runner.model.vocabulary.token(index) for index in ids_of(wanted, runner)]
    again = condgen("export", "nmt-de-en-context", "-o", str(folder))
    assert (again.returncode, "is there already" in again.stderr) == (2, True)


def ids_of(generation: Any, runner: Any) -> list[int]:
    names = [runner.model.vocabulary.token(index) for index in range(len(runner.model.vocabulary))]
    return [names.index(token) for token in generation.tokens]


FILES = ["encode.onnx", "start.onnx", "step.onnx", "tokens.json", "example.py", "example.npz"]


def test_a_model_that_writes_no_tokens_is_refused(tmp_path: Path, condgen: Any) -> None:
    done = condgen("export", "memn2n", "-o", str(tmp_path / "model"))
    assert done.returncode == 2
    assert "memn2n writes no tokens" in done.stderr
    assert not (tmp_path / "model").exists()
