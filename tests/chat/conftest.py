"""Dialogues that only a memory can go on with, and models trained on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from condgen_cli.training import build_experiment, parse_recipe, train

RECIPE = """
name = "colours"
task = "chat"
seed = 3

[model]
architecture = "chat"
embedding_size = 16
encoder_size = 16
dialogue_size = 24
hidden_size = 32
dropout = 0.0

[data]
dataset = "dialogues"
vocabulary_size = 60

[decoding]
method = "greedy"
max_length = 8

[training]
epochs = 10
batch_size = 16
lr = 2e-2
schedule = "linear"
metric = "perplexity"
evaluate_every = 50
mode = "min"
"""
COLOURS = ("red", "green", "blue", "white")


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody names a colour and asks for it later."""
    folder = tmp_path_factory.mktemp("colours")
    rng = np.random.default_rng(0)
    for split, count in (("train", 160), ("dev", 20)):
        with (folder / f"{split}.jsonl").open("w") as file:
            for number in range(count):
                colour = COLOURS[rng.integers(4)]
                turns = [f"{colour} car", "ok nice", "which one", f"{colour} one", f"bye {number}"]
                file.write(json.dumps(turns) + "\n")
    return folder


@pytest.fixture(scope="session")
def trained(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``trained(encoder)``: the folder of a run, trained once."""
    runs: dict[str, Path] = {}

    def run(encoder: str) -> Path:
        if encoder not in runs:
            folder = tmp_path_factory.mktemp("runs") / encoder
            recipe = parse_recipe(RECIPE, "colours.toml", [f"model.encoder={encoder}", "model.attention=words"])
            train(recipe, build_experiment(recipe, colours, folder), folder)
            runs[encoder] = folder
        return runs[encoder]

    return run
