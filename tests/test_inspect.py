"""``condgen inspect``, on models made here: their weights are random, what is said of them is not."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from condgen_caption.model import CaptionModel, build
from condgen_cli.cli.app import run
from condgen_cli.data.text import WordVocabulary

SIZE, HIDDEN, VALUES, CELLS = 64, 24, 16, 4
WORDS = ["two", "dogs", "run", "over", "the", "green", "grass"]
SIZES = {"image_size": SIZE, "embedding_size": 8, "hidden_size": HIDDEN, "value_size": VALUES, "match_size": 12}


def write_run(folder: Path, kind: str) -> CaptionModel:
    """A training run's folder, untrained."""
    folder.mkdir()
    config = {"kind": kind, "encoder": "lite0", **SIZES}
    vocabulary = folder / "vocabulary.json"
    WordVocabulary.build([" ".join(WORDS)]).save(vocabulary)
    torch.manual_seed(0)
    model = build(config, {vocabulary.name: vocabulary})
    save_file(model.state_dict(), folder / "model.safetensors", {"licence": "CC0-1.0"})
    description = {
        "architecture": {"name": "caption", "config": config},
        "task": "caption",
        "decoding": {"beam": 2, "max_length": 5},
        "files": ["vocabulary.json", "model.safetensors"],
    }
    (folder / "model.json").write_text(json.dumps(description))
    return model


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs ``sat``, ``nic`` and a photo."""
    folder = tmp_path_factory.mktemp("runs")
    for kind in ("sat", "nic"):
        write_run(folder / kind, kind)
    Image.linear_gradient("L").convert("RGB").resize((90, 60)).save(folder / "photo.png")
    return folder


class Captured:
    """One command line's exit code and output."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: object) -> None:
        self.code = run(["inspect", *map(str, arguments)])
        self.out, self.err = capsys.readouterr()

    def json(self) -> Any:
        return json.loads(self.out)


def test_the_architecture_is_told_with_shapes_and_parameters(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = Captured(capsys, runs / "sat", "--format", "json")
    assert done.code == 0
    report = done.json()
    parts = {part["name"]: part for part in report["parts"]}
    assert parts["encoder.stem"]["output"] == [[1, 32, SIZE // 2, SIZE // 2]]
    assert parts["encoder.stem"]["parameters"] == 3 * 32 * 9 + 32
    assert parts["encoder"]["output"] == [[1, 1280, 2, 2]]
    assert parts["decoder.embedding"]["parameters"] == (len(WORDS) + 4) * 8
    assert report["parameters"] == parts[""]["parameters"]
    assert report["parameters"] == sum(parts[name]["parameters"] for name in parts if name and "." not in name)
    assert report["memory"]["values"] == [1, CELLS, VALUES]
    assert report["positions"] == {"row": 2, "column": 2}
    assert report["step"]["logits"] == [1, len(WORDS) + 4]
    assert report["step"]["attention"] == [1, CELLS]
    assert report["vocabulary"]["size"] == len(WORDS) + 4
    assert report["vocabulary"]["first"][4:] == sorted(WORDS)
    assert report["decoding"]["beam"] == 2


def test_costs_are_those_counted_by_hand(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A multiplication and an addition for each weight of a matrix, also where the LSTM is one fused operator."""
    report = Captured(capsys, runs / "nic", "--format", "json").json()
    assert report["memory"]["values"] == [1, 1, VALUES]
    lstm = 4 * HIDDEN * (8 + VALUES + HIDDEN)
    weights = {part["name"]: part for part in report["parts"]}
    readout = weights["decoder.readout"]["parameters"]
    assert 2 * lstm < report["flops"]["step"] < 2 * (lstm + readout + 8 * HIDDEN * (len(WORDS) + 4) + 4 * HIDDEN * VALUES)
    convolutions = [part for part in report["parts"] if part["type"] == "SameConv2d"]
    expected = sum(
        (part["parameters"] - channels) * height * width
        for part in convolutions
        for _, channels, height, width in part["output"]
    )
    assert report["flops"]["encode"] == 2 * (expected + 1280 * VALUES)


def test_the_text_report_holds_the_same(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = Captured(capsys, runs / "sat")
    assert (done.code, done.err) == (0, "")
    facts = ["task          caption", "1 x 32 x 32 x 32", "2 x 2 (row, column)", "MFLOPs for an input", "11 tokens", "beam 2"]
    assert [fact for fact in facts if fact not in done.out] == []
    assert done.out.isascii()


def test_a_model_of_the_zoo_has_a_card(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONDGEN_HOME", str(tmp_path))
    monkeypatch.setenv("CONDGEN_ZOO", str(write_manifest(runs / "nic")))
    text = Captured(capsys, "untrained").out
    facts = [
        "untrained: Says anything.",
        "CC0-1.0",
        "noise (public domain)",
        "toy",
        "bleu4",
        "0.25",
        "0.1 to 0.5",
        "A. Nonymous",
    ]
    assert [fact for fact in facts if fact not in text] == []
    assert Captured(capsys, "untrained", "--format", "json").json()["card"]["id"] == "untrained"


def write_manifest(folder: Path) -> Path:
    """A zoo whose one model is a run's."""
    description = json.loads((folder / "model.json").read_text())
    contents = {name: (folder / name).read_bytes() for name in description.pop("files")}
    score = {"dataset": "toy", "split": "test", "metric": "bleu4"}
    entry = {
        **description,
        "id": "untrained",
        "description": "Says anything.",
        "licence": "CC0-1.0",
        "revision": "1",
        "data": [{"name": "noise", "licence": "public domain"}],
        "results": [{**score, "value": 0.25, "interval": [0.1, 0.5], "n": 9}],
        "references": [{**score, "value": 17.0, "system": "A. Nonymous"}],
        "files": [
            {"path": name, "urls": [name], "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents.items()
        ],
    }
    path = folder / "manifest.json"
    path.write_text(json.dumps({"schema": 1, "entries": [entry]}))
    return path


def test_a_weight_file_is_told_without_its_model(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = runs / "sat" / "model.safetensors"
    report = Captured(capsys, path, "--format", "json").json()
    assert report["metadata"] == {"licence": "CC0-1.0"}
    assert report["bytes"] == path.stat().st_size
    tensors = {tensor["name"]: tensor for tensor in report["tensors"]}
    assert tensors["encoder.stem.weight"] == {
        "name": "encoder.stem.weight",
        "dtype": "F32",
        "shape": [32, 3, 3, 3],
        "bytes": 4 * 32 * 27,
    }
    assert report["parameters"] == sum(math.prod(tensor["shape"]) for tensor in report["tensors"])
    text = Captured(capsys, path).out
    assert "licence: CC0-1.0" in text
    assert "32 x 3 x 3 x 3" in text


def test_attention_is_told_step_by_step(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (report,) = Captured(capsys, runs / "sat", runs / "photo.png", "--format", "json").json()
    assert report["input"].endswith("photo.png")
    assert 1 <= len(report["steps"]) <= 6
    weights = torch.tensor(report["attention"]["attention"]["weights"], dtype=torch.float64)
    assert weights.shape == (len(report["steps"]), 2, 2)
    for step, cells in zip(report["steps"], weights.flatten(1), strict=True):
        (head,) = step["attention"]["attention"]
        assert head["entropy"] == pytest.approx(float(-(cells * cells.log2()).sum()), abs=1e-3)
        strongest = head["strongest"][0]
        assert strongest["weight"] == pytest.approx(float(cells.max()), abs=1e-5)
        row, column = int(strongest["position"]["row"]), int(strongest["position"]["column"])
        assert float(cells.view(2, 2)[row, column]) == pytest.approx(float(cells.max()), abs=2e-6)
        assert 0 < step["extras"]["gate"] < 1


def test_attention_is_drawn_as_text(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = Captured(capsys, runs / "sat", runs / "photo.png")
    assert done.code == 0
    assert "photo.png" in done.out
    assert "bits" in done.out
    assert "gate" in done.out
    assert max(map(len, done.out.splitlines()[2:])) <= 80


def test_a_model_without_attention_says_so(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (report,) = Captured(capsys, runs / "nic", runs / "photo.png", "--format", "json").json()
    assert report["attention"] is None
    assert "no attention" in Captured(capsys, runs / "nic", runs / "photo.png").out


def test_an_input_that_fails_harms_no_other(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "broken.png").write_bytes(b"no photo")
    done = Captured(capsys, runs / "sat", runs / "broken.png", runs / "photo.png", runs / "none.png", "--format", "json")
    assert done.code == 4
    assert [bool(report["error"]) for report in done.json()] == [True, False, True]
    assert "broken.png" in done.err
    assert "none.png" in done.err


def test_what_is_not_there_is_not_found(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([runs / "none"], [runs / "none.safetensors"], [runs / "sat", runs / "none.png"]):
        done = Captured(capsys, *arguments)
        assert (done.code, done.out) == (3, "")


def test_weights_alone_are_no_model(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Captured(capsys, runs / "sat" / "model.safetensors", runs / "photo.png").code == 2
    broken = runs / "broken.safetensors"
    broken.write_bytes((1 << 60).to_bytes(8, "little") + b"{}")
    done = Captured(capsys, broken)
    assert done.code == 6
    assert "broken.safetensors" in done.err


def test_folders_and_patterns_stand_for_photos_as_in_the_task_s_command(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("10.png", "2.png", "notes.txt"):
        (tmp_path / name).write_bytes((runs / "photo.png").read_bytes())
    folder = Captured(capsys, runs / "sat", tmp_path, "--format", "json")
    assert [Path(row["input"]).name for row in folder.json()] == ["2.png", "10.png"]
    pattern = Captured(capsys, runs / "sat", tmp_path / "1*", "--format", "json")
    assert [Path(row["input"]).name for row in pattern.json()] == ["10.png"]
