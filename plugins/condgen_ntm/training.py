"""Training of neural Turing machines and LSTMs on random sequences, drawn for each batch, all of one size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from condgen_cli import training
from condgen_cli.data.store import open_dataset
from condgen_cli.errors import UsageError
from condgen_cli.training import Experiment, check
from condgen_ntm.bit_tasks import TASKS, draw_sizes
from condgen_ntm.model import NtmConfig, NtmModel
from condgen_ntm.objective import Objective

__all__ = ["NtmExperiment"]


class DataOptions(training.DataOptions):
    """``[data]``. The data set is ``ntm-`` and the task's name; its options apply to the dev split.

    Args:
        batches: batches per epoch, since the data have no end.
        sizes: ranges of a batch's sizes by name, such as ``length = [1, 20]``; default: the paper's. With several tables, one
            of them is chosen at random for each batch.
    """

    batches: int = Field(1000, ge=1)
    sizes: list[dict[str, tuple[int, int]]] = Field([{}], min_length=1)


class NtmExperiment(Experiment):
    """Trains on random sequences of one of the paper's tasks, seeded by the recipe's seed and the epoch."""

    data_options = DataOptions
    metric_keys = ("bit_errors", "bits_per_sequence")

    data: DataOptions
    model: NtmModel

    def prepare(self) -> None:
        name = self.data.dataset.removeprefix("ntm-")
        if name not in TASKS or not self.data.dataset.startswith("ntm-"):
            known = ", ".join(f"ntm-{name}" for name in TASKS)
            raise UsageError(f"recipe: data.dataset: {self.data.dataset!r} has no random sequences", f"known: {known}")
        self.task = TASKS[name]
        for size, (low, high) in (pair for sizes in self.data.sizes for pair in sizes.items()):
            if size not in self.task.sizes or not 1 <= low <= high:
                known = ", ".join(self.task.sizes)
                raise UsageError(f"recipe: data.sizes.{size}: can't be {[low, high]}", f"{name} has ranges of {known}")
        self.model = NtmModel(check(NtmConfig, {**self.recipe.model.options, "task": name}, "model"))
        self.initial.load_into(self.model)
        self.objective = Objective(self.model)
        dev = open_dataset(self.data.dataset, "dev", None, self.data.options)
        self.dev = sorted(dev, key=self.model.length)[: self.data.dev_limit or None]

    @property
    def material(self) -> str:
        return "random sequences"

    def plan(self, epoch: int, rng: np.random.Generator) -> Sequence[int]:
        """As many batches as ``data.batches`` says."""
        return range(self.data.batches)

    def batch(self, part: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Inputs and targets (steps, batch, bits)."""
        ranges = self.data.sizes[rng.integers(len(self.data.sizes))] if len(self.data.sizes) > 1 else self.data.sizes[0]
        sizes = draw_sizes(self.task, ranges, rng)
        inputs, targets = self.task.draw(rng, self.recipe.training.batch_size, **sizes)
        return (
            torch.from_numpy(np.ascontiguousarray(inputs.swapaxes(0, 1))),
            torch.from_numpy(targets.swapaxes(0, 1).astype(np.float32)),
        )
