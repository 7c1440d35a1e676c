"""``condgen recipe check``: find what would stop a training run before its first step.

Each stage is built as for training, on the first items of its data and from the untrained model of the previous stage.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from condgen_cli.data.store import dataset_spec, open_dataset
from condgen_cli.errors import CondgenError, UsageError, memory_error
from condgen_cli.training.build import build_experiment
from condgen_cli.training.experiment import Experiment
from condgen_cli.training.optimizer import make_optimizer
from condgen_cli.training.recipe import Recipe, Training, check
from condgen_cli.training.staged import check_stages
from condgen_cli.training.stages import Stage, Stages

__all__ = ["LIMIT", "StageCheck", "check_recipe"]

LIMIT = 100
"""Number of items of each split that a stage is built on: enough to find errors, without minutes of preparation."""

_BYTES = 4
"""Bytes of a weight in training."""
_STATES = {"adamw": 2, "rmsprop": 2, "sgd": 1}
"""Numbers that each optimizer keeps per weight."""


@dataclass(frozen=True)
class StageCheck:
    """The size of a stage, as far as it is known before training.

    Args:
        name: name of the stage; empty if the recipe has no stages.
        architecture: name of the architecture.
        train, dev: numbers of items of the splits; None if they are generated.
        parameters: number of parameters, with the vocabulary of the items that the stage was built on.
        trained: number of parameters that are not frozen.
        memory: bytes of weights, gradients, optimizer state and average, without activations.
        batches: number of batches in an epoch on one process; None if it can't be estimated from the first items.
        steps: total number of steps; None as for ``batches``.
        exact: whether the stage was built on all items; otherwise ``batches`` and ``steps`` are estimates.
        warmup: number of warm-up steps.
    """

    name: str
    architecture: str
    train: int | None
    dev: int | None
    parameters: int
    trained: int
    memory: int
    batches: int | None
    steps: int | None
    exact: bool
    warmup: int


def check_recipe(stages: Stages, data_dir: Path | None) -> list[StageCheck]:
    """Build every stage of a recipe without training it.

    Raises:
        NotFoundError: if data, an architecture or an initial model doesn't exist.
        UsageError: if settings are invalid or don't fit each other, or the memory doesn't suffice.
        CondgenError: if a stage can't be built for another reason.
    """
    check_stages(stages.stages)
    checks = []
    with tempfile.TemporaryDirectory() as folder, _limit_memory():
        folders: dict[str, Path] = {}
        for stage in stages.stages:
            try:
                experiment = _build(stage.resolve_references(folders), data_dir, Path(folder) / "run")
                checks.append(_check_stage(stage, experiment, data_dir))
                folders[stage.name] = Path(folder) / stage.folder
                folders[stage.name].mkdir()
                experiment.export(folders[stage.name])
            except Exception as error:
                failure = _as_usage_error(error)
                if stages.single:
                    raise failure from None
                raise type(failure)(f"stage {stage.name}: {failure.message}", failure.hint) from None
    return checks


def _build(recipe: Recipe, data_dir: Path | None, run_dir: Path) -> Experiment:
    """The experiment on the first ``LIMIT`` items of each split, unless the recipe sets a limit."""
    document = recipe.model_dump(mode="json")
    document["data"] = {"limit": LIMIT, "dev_limit": LIMIT, **document["data"]}
    return build_experiment(check(Recipe, document), data_dir, run_dir)


def _check_stage(stage: Stage, experiment: Experiment, data_dir: Path | None) -> StageCheck:
    recipe, settings = stage.recipe, stage.recipe.training
    make_optimizer(settings, experiment.objective)
    known = experiment.dev_metrics
    if known and settings.metric not in known:
        raise UsageError(f"training.metric: no dev metric named {settings.metric!r}", f"known: {', '.join(known)}")
    train, dev = (_count(recipe, split, data_dir) for split in ("train", "dev"))
    batches: int | None = len(experiment.batches(0))
    if not batches:
        raise UsageError("there is nothing to train on: an epoch has no batch", "set a smaller training.batch_size")
    parameters, trained = _parameters(experiment.objective)
    memory = _memory(settings, parameters, trained)
    if memory > (available := _available_memory()):
        reason = f"weights, gradients and optimizer need {memory / 1e9:.1f} GB; {available / 1e9:.1f} GB are available"
        raise UsageError(reason, "a smaller model")
    exact = train is None or train <= (recipe.data.options.get("limit") or LIMIT)
    if train is not None and not exact:
        # only the plugin knows how much a further data set adds
        batches = None if recipe.data.options.get("more") else batches * train // LIMIT
    steps = None if batches is None else settings.epochs * math.ceil(batches / settings.accumulate)
    warmup = settings.warmup if steps is None or 2 * settings.warmup <= steps else steps // 10
    name = recipe.model.architecture
    return StageCheck(stage.name, name, train, dev, parameters, trained, memory, batches, steps, exact, warmup)


def _count(recipe: Recipe, split: str, data_dir: Path | None) -> int | None:
    spec = dataset_spec(recipe.data.dataset)
    if spec.generated or split not in spec.splits:
        return None
    limit: Any = recipe.data.options.get("limit" if split == "train" else "dev_limit") or math.inf
    items: Iterable[Any] = open_dataset(recipe.data.dataset, split, data_dir, recipe.data.options.get("options"))
    return int(min(sum(1 for _ in items), limit))


def _parameters(objective: nn.Module) -> tuple[int, int]:
    """The number of parameters, and of those that are trained."""
    parameters = list(objective.parameters())
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return sum(parameter.numel() for parameter in parameters), trained


def _memory(settings: Training, parameters: int, trained: int) -> int:
    averages = 0 if settings.average == "none" else 1 if settings.average == "ema" else int(settings.average.partition("-")[2])
    return _BYTES * (parameters * (1 + averages) + trained * (1 + _STATES[settings.optimizer]))


def _available_memory() -> int:
    """Free bytes of the GPU, if there is one; otherwise bytes of the machine's memory."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@contextmanager
def _limit_memory() -> Iterator[None]:
    """Limit the process to the machine's memory, where the system allows it, so that a model that is too large raises an error
    instead of the process being killed.
    """
    try:
        import resource

        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        before = resource.getrlimit(resource.RLIMIT_AS)
        most = mapped + os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        resource.setrlimit(
            resource.RLIMIT_AS, (most if before[1] == resource.RLIM_INFINITY else min(most, before[1]), before[1])
        )
    except (ImportError, OSError, ValueError):
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _as_usage_error(error: Exception) -> CondgenError:
    """The error to report: a lack of memory as a usage error, since it follows from the recipe; other errors unchanged."""
    failure = memory_error(error)
    if failure is not None:
        return UsageError(failure.message, failure.hint)
    if not isinstance(error, CondgenError):
        raise error
    return error
