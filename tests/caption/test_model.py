"""The caption models through the contract of every sequence model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from condgen_caption.model import CaptionConfig, CaptionModel, build
from condgen_cli.data.text import WordVocabulary
from condgen_cli.errors import UsageError
from condgen_cli.model import Item
from condgen_cli.running.decoding import Decoding, decode
from condgen_cli.running.runner import load
from condgen_cli.testing import check_model

SMALL: dict[str, Any] = {"encoder": "lite0", "image_size": 96, "embedding_size": 8, "hidden_size": 8, "value_size": 8}


def make(**options: Any) -> CaptionModel:
    torch.manual_seed(0)
    return CaptionModel(CaptionConfig(**SMALL, **options), WordVocabulary(["a", "cat", "sits"])).eval()


def photos(count: int) -> list[Item]:
    colours = ["red", "green", "blue", "white"]
    return [Item(str(index), Image.new("RGB", (40 + 10 * index, 30), colours[index])) for index in range(count)]


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "sat"},
        {"kind": "sat", "gate": False, "match": "bilinear"},
        {"kind": "sat", "match": "cosine", "query_hidden": 8},
        {"kind": "nic"},
        {"kind": "nic", "feed": "first"},
    ],
)
def test_follows_the_contract(options: dict[str, Any]) -> None:
    check_model(make(**options), photos(3))


def test_sat_remembers_every_cell_with_its_place() -> None:
    model = make(kind="sat")
    with torch.inference_mode():
        memory = model.encode(model.collate(photos(2)))
    assert memory.values.shape == (2, 9, 8)
    assert [(axis.kind, axis.name, len(axis)) for axis in memory.axes[1]] == [("grid", "row", 3), ("grid", "column", 3)]


def test_cells_are_in_reading_order() -> None:
    model = make(kind="sat")
    features = torch.zeros(1, 1280, 2, 3)
    features[0, :, 1, 0] = torch.randn(1280)  # second row, first column
    with torch.inference_mode():
        values = model.memorise(features).values[0]
    different = [cell for cell in range(6) if not torch.allclose(values[cell], values[0])]
    assert different == [3]


def test_nic_remembers_one_vector_without_axes() -> None:
    model = make(kind="nic")
    with torch.inference_mode():
        memory = model.encode(model.collate(photos(2)))
        (hypothesis,), _ = decode(model, memory, Decoding(max_length=4))
    assert memory.values.shape == (2, 1, 8)
    assert not hypothesis.attention


def test_the_gate_is_reported() -> None:
    model = make(kind="sat")
    with torch.inference_mode():
        ((hypothesis,),) = decode(model, model.encode(model.collate(photos(1))), Decoding(max_length=4))
    assert hypothesis.extras["gate"].shape == (len(hypothesis.ids),)
    assert ((hypothesis.extras["gate"] > 0) & (hypothesis.extras["gate"] < 1)).all()


@pytest.mark.parametrize(
    ("config", "reason"),
    [({"kind": "vgg"}, "kind"), ({"hiden_size": 3}, "hiden_size"), ({"match": "dot", "hidden_size": 3}, "one size")],
)
def test_impossible_options_are_named(tmp_path: Path, config: dict[str, Any], reason: str) -> None:
    WordVocabulary(["a"]).save(tmp_path / "vocabulary.json")
    with pytest.raises(UsageError, match=reason):
        build(SMALL | config, {"vocabulary.json": tmp_path / "vocabulary.json"})


def test_an_encoder_alone_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match="encoder alone"):
        load("efficientnet-lite2")
