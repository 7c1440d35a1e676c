"""Publishing makes graphs of what is published, and none that compute something else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.errors import CondgenError
from condgen_cli.files.weights import save_weights
from condgen_cli.model import Step
from condgen_cli.running.runner import load
from condgen_cli.zoo.publish import publish
from condgen_translate.model import TranslateModel
from condgen_translate.sentences import SOURCE_FILE, TARGET_FILE, TranslateConfig

pytest.importorskip("onnx")

SENTENCES = ["a dog runs .", "two dogs run .", "a man sleeps .", "two men sleep ."] * 2
METADATA = {"description": "a test", "licence": "Apache-2.0"}
OPTIONS: dict[str, Any] = {"embedding_size": 24, "hidden_size": 32, "match_size": 40}


def write_run(folder: Path, seed: int) -> Path:
    folder.mkdir()
    vocabulary = SubwordVocabulary.train(SENTENCES, 60)
    torch.manual_seed(seed)
    model = TranslateModel(TranslateConfig(**OPTIONS), vocabulary, vocabulary)
    save_weights({name: 3 * tensor for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    for name in (SOURCE_FILE, TARGET_FILE):
        vocabulary.save(folder / name)
    files = ["model.safetensors", SOURCE_FILE, TARGET_FILE]
    architecture = {"name": "translate", "config": OPTIONS}
    description = {"architecture": architecture, "task": "translate", "decoding": {"beam": 3}, "files": files}
    (folder / "model.json").write_text(json.dumps(description))
    return folder


def graphs(zoo: Path) -> set[str]:
    return {path.name for path in (zoo / "graphs").iterdir()}


def test_a_published_model_has_graphs_of_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo = tmp_path / "zoo"
    entry = publish(write_run(tmp_path / "run", 0), "mine", zoo, metadata=METADATA, bits=8)
    names = [file.path for file in entry.files if file.path.endswith(".onnx")]
    assert names == ["encode.onnx", "start.onnx", "step.onnx"]
    assert graphs(zoo) == {Path(file.urls[0]).name for file in entry.files if file.path in names}
    monkeypatch.setenv("CONDGEN_ZOO", str(zoo / "manifest.json"))
    sources = ["two men run .", "a dog"]
    found = [[load("mine", "cpu", backend)(source) for source in sources] for backend in ("torch", "onnx")]
    for one, other in zip(*found, strict=True):
        assert one.tokens == other.tokens
        assert other.score == pytest.approx(one.score, abs=1e-4)
    again = publish(write_run(tmp_path / "second", 1), "mine", zoo, metadata=METADATA, bits=16)
    assert again.revision != entry.revision
    assert len(graphs(zoo)) == 3


def test_a_model_that_its_graphs_do_not_match_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that decides in Python: a graph keeps what was decided when it was traced."""
    ordinary = TranslateModel.step

    def step(self: TranslateModel, token: Any, state: Any, memory: Any) -> Step:
        found = ordinary(self, token, state, memory)
        return replace(found, logits=found.logits * (1.0 + 0.01 * float(token.float().mean())))

    monkeypatch.setattr(TranslateModel, "step", step)
    zoo = tmp_path / "zoo"
    with pytest.raises(CondgenError, match=r"in torch|differ"):
        publish(write_run(tmp_path / "run", 0), "mine", zoo, metadata=METADATA)
    assert not (zoo / "manifest.json").exists()
