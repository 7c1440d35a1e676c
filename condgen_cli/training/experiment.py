"""What a plugin gives the training loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from condgen_cli.errors import UsageError
from condgen_cli.files import protect, refuse_input
from condgen_cli.guard import divert_stdout
from condgen_cli.training.recipe import Recipe

__all__ = ["Batches", "Experiment", "build_experiment", "dev_metrics", "material"]


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

    # Two more, which an experiment may lack: see ``dev_metrics`` and ``material`` below.


def dev_metrics(experiment: Experiment) -> Sequence[str]:
    """What ``evaluate`` gives, as the experiment's ``dev_metrics`` says before it is called; empty if it says nothing."""
    return tuple(getattr(experiment, "dev_metrics", ()))


def material(experiment: Experiment) -> str:
    """What is trained on, counted, as the experiment's ``material`` says: ``200 pairs``; empty if it says nothing."""
    return str(getattr(experiment, "material", ""))


@divert_stdout()
def build_experiment(recipe: Recipe, data_dir: Path | None, run_dir: Path) -> Experiment:
    """Seed all random number generators, then build what the recipe's architecture trains.

    Raises:
        NotFoundError: if no plugin has the architecture.
        UsageError: if it belongs to another task or can't be trained, or if the run would be written into what it reads.
    """
    from accelerate.utils import set_seed

    from condgen_cli.plugins import manager
    from condgen_cli.specs import named, resolve

    protect_sources(recipe, data_dir)
    refuse_input(run_dir)

    spec = named(manager().models, "architecture", recipe.model.architecture)
    if spec.task != recipe.task:
        raise UsageError(f"architecture {spec.name} is for the task {spec.task}, the recipe says {recipe.task}")
    if not spec.experiment:
        raise UsageError(f"architecture {spec.name} can't be trained")
    if recipe.init:
        _check_task(recipe.init, recipe.task)
    set_seed(recipe.seed)
    experiment: Experiment = resolve(spec.experiment)(recipe, data_dir, run_dir)
    return experiment


def _check_task(init: str, task: str) -> None:
    from condgen_cli.runner import initial_bundle

    found = initial_bundle(init).task
    if found != task:
        raise UsageError(f"recipe: init: {init} is a model for {found}, not for {task}", "condgen list")


def protect_sources(recipe: Recipe, data_dir: Path | None) -> None:
    """Note what a training reads, so that its run isn't written over it: the data and the model that it goes on from."""
    from condgen_cli.data.store import present_root
    from condgen_cli.plugins import manager

    spec = manager().datasets.get(recipe.data.dataset)
    root = None if spec is None or spec.generated else present_root(spec, data_dir)
    for source in (data_dir, root, recipe.init, *recipe.data.options.values()):
        if isinstance(source, str | Path) and str(source):
            protect(Path(source).expanduser())
