"""Training the networks: every batch is drawn anew, all its sequences of one size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from condgen_cli.data.store import open_dataset
from condgen_cli.errors import UsageError
from condgen_cli.generation import Generation
from condgen_cli.metrics.suite import build_suite
from condgen_cli.pipeline import batched
from condgen_cli.plugins import manager
from condgen_cli.runner import initial_files
from condgen_cli.training import Recipe, check
from condgen_cli.training.sequences import dev_scores, export, load_initial
from condgen_ntm.bit_tasks import TASKS, random_sizes
from condgen_ntm.model import NtmConfig, NtmModel
from condgen_ntm.objective import Objective

__all__ = ["NtmExperiment"]

EVALUATED = 100
"""Sequences of the dev split that are run at once."""
METRICS = ("bit_errors", "bits_per_sequence")


class DataOptions(BaseModel):
    """``[data]`` beside the data set's name, which is that of the task after ``ntm-``.

    Args:
        batches: of an epoch, since sequences never end.
        sizes: smallest and largest of what a batch's size is drawn from, by name, such as ``length``; default: the paper's. Of
            several such one is drawn for each batch.
        options: of the data set's dev split, that is evaluated on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    batches: int = Field(1000, ge=1)
    sizes: list[dict[str, tuple[int, int]]] = Field([{}], min_length=1)
    options: dict[str, str] = {}


class NtmExperiment:
    """Implements ``condgen_cli.training.Experiment``.

    Args:
        recipe: ``[model]`` are fields of ``NtmConfig``, ``task`` left out; ``init`` names a model to go on from.
        data_dir: unused: data are drawn.
        run_dir: unused.
    """

    def __init__(self, recipe: Recipe, data_dir: Path | None, run_dir: Path) -> None:
        self.recipe = recipe
        self.data = check(DataOptions, recipe.data.model_dump(), "data")
        name = self.data.dataset.removeprefix("ntm-")
        if name not in TASKS or not self.data.dataset.startswith("ntm-"):
            raise UsageError(f"recipe: data.dataset: {self.data.dataset!r} is not drawn", f"known: {', '.join(_datasets())}")
        self.task = TASKS[name]
        for size, (low, high) in (pair for sizes in self.data.sizes for pair in sizes.items()):
            if size not in self.task.sizes or not 1 <= low <= high:
                known = ", ".join(self.task.sizes)
                raise UsageError(f"recipe: data.sizes.{size}: can't be {[low, high]}", f"{name} has ranges of {known}")
        if recipe.objective:
            raise UsageError("recipe: objective: the networks' has no options")
        self.model = NtmModel(check(NtmConfig, {**recipe.model.options, "task": name}, "model"))
        load_initial(self.model, str(recipe.init), {} if recipe.init is None else initial_files(recipe.init))
        self.objective: nn.Module = Objective(self.model)
        self.dev = sorted(open_dataset(self.data.dataset, "dev", None, self.data.options), key=self.model.length)
        self.metrics = build_suite(METRICS, manager().metrics)

    dev_metrics = METRICS

    @property
    def material(self) -> str:
        """What is trained on, counted."""
        return "sequences that are drawn"

    def batches(self, epoch: int) -> _Epoch:
        """Batches drawn by the seed and the epoch."""
        return _Epoch(self, epoch)

    def evaluate(self) -> dict[str, float]:
        """Bit errors and cross-entropy on the dev split."""
        device = self.model.output.weight.device
        generations: list[Generation] = []
        for items in batched(self.dev, EVALUATED):
            batch = self.model.collate(items)
            generations += self.model.predict(batch._replace(inputs=batch.inputs.to(device)))
        return dev_scores(self.metrics, self.dev, generations)

    def export(self, directory: Path) -> None:
        """The model as ``load`` reads it."""
        export(directory, self.recipe, self.model, self.model.config, {})


class _Epoch:
    """The batches of one epoch, drawn as they are asked for."""

    def __init__(self, experiment: NtmExperiment, epoch: int) -> None:
        self.experiment = experiment
        self.epoch = epoch

    def __len__(self) -> int:
        return self.experiment.data.batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        own = self.experiment
        rng = np.random.default_rng([own.recipe.seed, self.epoch])
        for _ in range(len(self)):
            ranges = own.data.sizes[rng.integers(len(own.data.sizes))] if len(own.data.sizes) > 1 else own.data.sizes[0]
            sizes = random_sizes(own.task, ranges, rng)
            inputs, targets = own.task.draw(rng, own.recipe.training.batch_size, **sizes)
            yield (
                torch.from_numpy(np.ascontiguousarray(inputs.swapaxes(0, 1))),
                torch.from_numpy(targets.swapaxes(0, 1).astype(np.float32)),
            )


def _datasets() -> list[str]:
    return [f"ntm-{name}" for name in TASKS]
