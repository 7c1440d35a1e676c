"""Training that begins with another model's weights: misfits and damage in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from condgen_cli.cli.app import run
from condgen_cli.errors import IntegrityError, UsageError
from condgen_cli.files.weights import load_weights, quantize_to_8_bits, save_weights
from condgen_cli.training.initial import InitialModel


def initial_model(name: str, weights: Path) -> InitialModel:
    model = InitialModel(None)
    model.name, model.files = name, {weights.name: weights}
    return model


def test_weights_of_another_size_are_named_in_one_line(tmp_path: Path) -> None:
    save_weights(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5)).state_dict(), tmp_path / "model.safetensors")
    model = nn.Sequential(nn.Linear(3, 6), nn.Linear(6, 5))
    with pytest.raises(UsageError) as caught:
        initial_model("runs/x", tmp_path / "model.safetensors").load_into(model)
    assert caught.value.message == (
        "recipe: init: runs/x does not fit the model: 0.bias is 4 there, 6 here; 0.weight is 4x3 there, 6x3 here; "
        "1.weight is 5x4 there, 5x6 here"
    )


def test_weights_in_8_bits_and_parts_that_come_from_elsewhere(tmp_path: Path) -> None:
    weights = {"a.weight": np.random.default_rng(1).normal(size=(40, 40)).astype(np.float32)}
    packed = {key: torch.from_numpy(value) for key, value in quantize_to_8_bits(weights).items()}
    save_file({**packed, "gone.bias": torch.ones(2)}, tmp_path / "model.safetensors")
    model = nn.ModuleDict({"a": nn.Linear(40, 40, bias=False), "own": nn.Linear(2, 2)})
    before = model["own"].weight.clone()
    initial_model("x", tmp_path / "model.safetensors").load_into(model, apart=("own.", "gone."))
    assert torch.equal(model["own"].weight, before)
    assert np.abs(model["a"].weight.detach().numpy() - weights["a.weight"]).max() < 0.05


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_neither_written_nor_read(value: float, tmp_path: Path) -> None:
    weights = {"good": torch.ones(2), "bad.weight": torch.tensor([1.0, value])}
    with pytest.raises(IntegrityError, match=r"model.safetensors: bad\.weight"):
        save_weights(weights, tmp_path / "model.safetensors")
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(IntegrityError, match=r"bad\.weight"):
        load_weights(tmp_path / "model.safetensors")


def test_damaged_weights_end_every_command_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["model.hidden_size=8", "data.batches=1", "training.epochs=1", "data.options.count=1", "data.options.lengths=2"]
    assert run(["train", "ntm-copy", *small, "-o", "run", "--device", "cpu"]) == 0, capsys.readouterr().err
    weights = load_file("run/model.safetensors")
    first = min(weights)
    weights[first].view(-1)[0] = float("nan")
    save_file(weights, "run/model.safetensors")
    for command in (["inspect", "run"], ["ntm", "copy", "-m", "run"], ["train", "ntm-copy", *small, "init=run", "-o", "other"]):
        capsys.readouterr()
        assert run(command) == 6
        assert f"model.safetensors: {first} holds a value that is no finite number" in capsys.readouterr().err
    assert not Path("other").exists()
