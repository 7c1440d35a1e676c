"""A plugin with a language model over digits: each sequence counts up from a random digit."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from condgen_cli import training
from condgen_cli.hookspecs import hookimpl
from condgen_cli.specs import DatasetSpec, ModelSpec
from condgen_cli.training import Recipe
from condgen_cli.training.initial import InitialModel

CONDGEN_API = "2"

RECIPE = """
name = "toy"
task = "count"
seed = 3

[model]
architecture = "gru"
dropout = 0.2

[data]
dataset = "digits"
batches = 5

[training]
epochs = 3
batch_size = 4
lr = 0.01
metric = "accuracy"
log_every = 2
"""

STAGES = (
    RECIPE.replace("epochs = 3", "epochs = 1")
    + """
[[stages]]
name = "first"

[[stages]]
name = "second"

[stages.training]
epochs = 2

[[stages]]
name = "third"

[stages.model]
dropout = 0.0
"""
)


@hookimpl
def condgen_register_models() -> list[ModelSpec]:
    return [ModelSpec("gru", "count", "toy:Objective", "toy:Experiment")]


@hookimpl
def condgen_register_datasets() -> list[DatasetSpec]:
    return [DatasetSpec("digits", "count", "Digits that count up.", "toy:digits", generated=True)]


class Objective(training.Objective):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.dropout = nn.Dropout(dropout)
        self.gru = nn.GRU(8, 16, batch_first=True)
        self.normalise = nn.BatchNorm1d(16)
        self.output = nn.Linear(16, 10)
        self.progress: list[float] = []
        self.scale = 1.0

    def set_progress(self, fraction: float) -> None:
        self.progress.append(fraction)

    def logits(self, digits: Tensor) -> Tensor:
        states = self.gru(self.dropout(self.embedding(digits)))[0]
        return self.output(self.normalise(states.transpose(1, 2)).transpose(1, 2))

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float | Tensor]]:
        digits = batch["digits"]
        loss = nn.functional.cross_entropy(self.logits(digits[:, :-1]).flatten(0, 1), digits[:, 1:].flatten())
        return self.scale * loss, {"tokens": digits[:, 1:].numel(), "squared": loss.detach() ** 2}


class DataOptions(training.DataOptions):
    batches: int = 5


class Experiment(training.Experiment):
    """Draws from the global generator in its batches, as torch's own loader does, and in its evaluation, as sampling does.

    Args:
        recipe: ``data.batches`` is the number of batches in an epoch.
    """

    data_options = DataOptions
    dev_metrics = ("accuracy", "loss")
    material = ""

    def __init__(self, recipe: Recipe, data_dir: Path | None = None) -> None:
        self.recipe = recipe
        torch.manual_seed(recipe.seed)
        self.prepare()

    def prepare(self) -> None:
        recipe = self.recipe
        self.objective = Objective(recipe.model.options.get("dropout", 0.0))
        if recipe.init:
            InitialModel(recipe.init).load_into(self.objective)
        self.drawn = 0
        self.evaluations = 0
        self.exports: list[dict[str, Tensor]] = []
        # What a test makes happen: SIGINT while this batch is drawn, or in this evaluation, counted from 1.
        self.interrupt_batch = 0
        self.interrupt_evaluation = 0
        self.scores: list[float] = []

    def batch(self, part: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
        raise AssertionError("batches are made by Batches")

    def batches(self, epoch: int) -> Batches:
        return Batches(self, epoch)

    def evaluate(self) -> dict[str, float]:
        assert not self.objective.training
        self.evaluations += 1
        digits = torch.randint(0, 10, (50,))
        if self.evaluations == self.interrupt_evaluation:
            signal.raise_signal(signal.SIGINT)
        right = self.objective.logits(digits[:, None]).argmax(-1)[:, 0] == (digits + 1) % 10
        accuracy = self.scores.pop(0) if self.scores else 100 * right.float().mean().item()
        return {"accuracy": accuracy, "loss": 1.0}

    def export(self, directory: Path) -> None:
        weights = {name: tensor.clone() for name, tensor in self.objective.state_dict().items()}
        self.exports.append(weights)
        save_file(weights, directory / "model.safetensors")
        description = {"task": "count", "architecture": {"name": "gru", "config": {}}, "files": ["model.safetensors"]}
        (directory / "model.json").write_text(json.dumps(description))


class Batches:
    def __init__(self, experiment: Experiment, epoch: int) -> None:
        self.experiment = experiment
        self.epoch = epoch

    def __len__(self) -> int:
        return self.experiment.recipe.data.options["batches"]

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        recipe = self.experiment.recipe
        torch.rand(1)
        generator = torch.Generator().manual_seed(1000 * recipe.seed + self.epoch)
        for start in torch.randint(0, 10, (len(self), recipe.training.batch_size, 1), generator=generator):
            torch.rand(1)
            self.experiment.drawn += 1
            if self.experiment.drawn == self.experiment.interrupt_batch:
                signal.raise_signal(signal.SIGINT)
            if os.environ.get("TOY_HANG") == str(self.experiment.drawn):
                Path("hanging").touch()
                time.sleep(60)
            yield {"digits": (start + torch.arange(6)) % 10}


def digits(root: Path, split: str, **options: str) -> list[object]:
    return []
