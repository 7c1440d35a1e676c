"""What a plugin gives the training loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from condgen_cli.errors import UsageError
from condgen_cli.guard import divert_stdout
from condgen_cli.training.recipe import Recipe

__all__ = ["Batches", "Experiment", "build_experiment"]


class Batches(Protocol):
    """The batches of one epoch, in order: nested tuples, lists and dicts of CPU tensors, or objects with a ``to``."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...


class Experiment(Protocol):
    """A model to train, its data, and how it is judged."""

    @property
    def objective(self) -> nn.Module:
        """Holds the model. ``forward(batch)`` returns ``(loss, stats)``: a scalar tensor, and a dict of numbers or scalar
        tensors. ``stats["tokens"]`` counts what the loss is a mean over; the others are means, logged beside the loss.
        If it has ``set_progress(fraction: float)``, that is called before each step with the share of the training done.
        """

    def batches(self, epoch: int) -> Batches:
        """Batches of one epoch, from 0: a function of the seed and the epoch alone, so that a resumed run sees the same."""

    def evaluate(self) -> Mapping[str, float]:
        """Metrics on the dev split, by free-running decoding. Called in evaluation mode without gradients, on one process."""

    def export(self, directory: Path) -> None:
        """Write ``model.json``, the weights and the vocabulary, as ``condgen_cli.runner.load`` reads them."""


@divert_stdout()
def build_experiment(recipe: Recipe, data_dir: Path | None, run_dir: Path) -> Experiment:
    """Seed all random number generators, then build what the recipe's architecture trains.

    Raises:
        NotFoundError: if no plugin has the architecture.
        UsageError: if it belongs to another task or can't be trained.
    """
    from accelerate.utils import set_seed

    from condgen_cli.plugins import manager
    from condgen_cli.specs import named, resolve

    spec = named(manager().models, "architecture", recipe.model.architecture)
    if spec.task != recipe.task:
        raise UsageError(f"architecture {spec.name} is for the task {spec.task}, the recipe says {recipe.task}")
    if not spec.experiment:
        raise UsageError(f"architecture {spec.name} can't be trained")
    set_seed(recipe.seed)
    experiment: Experiment = resolve(spec.experiment)(recipe, data_dir, run_dir)
    return experiment
