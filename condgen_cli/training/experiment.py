"""What a plugin says of a model that can be trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from condgen_cli.data.store import dataset_spec
from condgen_cli.item import Item
from condgen_cli.metrics.evaluation import Evaluation, evaluate
from condgen_cli.metrics.suite import Suite, dataset_suite
from condgen_cli.running.runner import Bundle, Runner
from condgen_cli.terminal import console
from condgen_cli.training.batches import Epoch, batches_of_like_length
from condgen_cli.training.export import SavedVocabulary, write_model
from condgen_cli.training.initial import InitialModel
from condgen_cli.training.objective import Objective
from condgen_cli.training.options import DataOptions, Options
from condgen_cli.training.recipe import Recipe, check
from condgen_cli.training.splits import read_split

__all__ = ["Experiment", "dev_scores"]


class Experiment(ABC):
    """A model to train, its data, its loss, and how it is judged.

    A subclass gives ``prepare``, which reads the data and builds the model, and ``batch``, which makes a batch of some of them.
    The rest has defaults: epochs of batches of like length, scores on the dev split by decoding as ``condgen eval`` does, and
    the exported model.

    Attributes:
        data_options: what ``[data]`` may hold.
        objective_options: what ``[objective]`` may hold.
        metric_keys: the dev metrics; empty: those of the data set, or else of its task.
        dev_batch_size: items of the dev split that are decoded at once.
        unit: what the training data are counted in, such as ``pairs``.
        model: the model, set by ``prepare``.
        objective: the model with its loss, set by ``prepare``.
        sizes: (examples,) by which batches of like length are made, such as numbers of tokens, set by ``prepare``.
        dev: the items that ``evaluate`` is over, set by ``prepare``.

    Args:
        recipe: the settings. ``recipe.model.options`` are the architecture's.
        data_dir: where the data set lies, as ``--data-dir`` names it.
    Raises:
        UsageError: if the recipe's settings don't fit the model or the data.
        CondgenError: whatever reading the data raises.
    """

    data_options: ClassVar[type[DataOptions]] = DataOptions
    objective_options: ClassVar[type[Options]] = Options
    metric_keys: ClassVar[tuple[str, ...]] = ()
    dev_batch_size: ClassVar[int] = 100
    unit: ClassVar[str] = "items"

    model: Any
    objective: Objective
    sizes: NDArray[np.int64]
    dev: Sequence[Item]

    def __init__(self, recipe: Recipe, data_dir: Path | None = None) -> None:
        self.recipe = recipe
        self.data_dir = data_dir
        self.data = check(self.data_options, recipe.data.model_dump(), "data")
        self.options = check(self.objective_options, recipe.objective, "objective")
        self.decoding = recipe.make_decoding()
        self.initial = InitialModel(recipe.init)
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Read the data; set ``model``, ``objective``, ``sizes`` and ``dev``."""

    @abstractmethod
    def batch(self, part: Any, rng: np.random.Generator) -> Any:
        """A batch: nested tuples, lists and dicts of CPU tensors, or an object with a ``to``.

        Args:
            part: an element of the epoch's plan, by default the indices of the examples.
            rng: for what is drawn at random, such as noise; its numbers depend on the seed and the epoch.
        """

    def plan(self, epoch: int, rng: np.random.Generator) -> Sequence[Any]:
        """What each batch of an epoch is made of: by default the indices of examples of like length.

        Args:
            epoch: from 0.
            rng: its numbers depend on the seed and the epoch.
        """
        return list(batches_of_like_length(self.sizes, self.recipe.training.batch_size, rng))

    def batches(self, epoch: int) -> Epoch:
        """The batches of one epoch, a function of the seed and the epoch alone, so that a resumed run sees the same."""
        seed = [self.recipe.seed, epoch]
        return Epoch(self.plan(epoch, np.random.default_rng(seed)), self.batch, [*seed, 1])

    @cached_property
    def metrics(self) -> Suite:
        """The dev metrics."""
        return dataset_suite(dataset_spec(self.data.dataset), self.data.options, keys=self.metric_keys)

    @property
    def dev_metrics(self) -> tuple[str, ...]:
        """The names of what ``evaluate`` gives."""
        return self.metrics.keys

    @property
    def material(self) -> str:
        """What is trained on, counted."""
        return f"{len(self.sizes):,} {self.unit}"

    def evaluate(self) -> Mapping[str, float]:
        """Metrics on the dev split. The loop calls it in evaluation mode, without gradients, on one process."""
        return self.score(self.dev)

    def score(self, items: Sequence[Item]) -> dict[str, float]:
        """The dev metrics of what the model writes for items, decoded as a released model decodes them.

        Raises:
            CondgenError: of the first item that fails.
        """
        bundle = Bundle(self.recipe.name, self.recipe.task, self.recipe.model.architecture, {}, {}, {})
        runner = Runner(self.model, bundle, next(self.model.parameters()).device)
        done = evaluate(runner, items, self.metrics, decoding=self.decoding, batch_size=self.dev_batch_size)
        if done.failures:
            raise done.failures[0][1]
        return dev_scores(self.metrics, done)

    def read(self, split: str) -> list[Item]:
        """The items of ``train`` or ``dev``, at most ``data.limit`` or ``data.dev_limit`` of them.

        Raises:
            UsageError: if there are none.
            CondgenError: whatever reading them raises.
        """
        limit = self.data.dev_limit if split == "dev" else self.data.limit
        return read_split(self.data.dataset, split, self.data_dir, self.data.options, limit)

    def config(self) -> Mapping[str, Any]:
        """What the architecture's builder takes; by default the fields of ``model.config``."""
        return dict(self.model.config.model_dump())

    def weights(self) -> Mapping[str, Tensor]:
        """The weights that are exported; by default all of the model's."""
        return dict(self.model.state_dict())

    def vocabularies(self) -> Mapping[str, SavedVocabulary]:
        """What is exported beside the weights, by the names of the files."""
        return {}

    def weight_files(self) -> Mapping[str, str]:
        """Names of further files of weights that are exported, each with the prefix of the weights that go there."""
        return {}

    def export(self, directory: Path) -> None:
        """Write the model as ``condgen_cli.running.runner.load`` reads it."""
        write_model(directory, self.recipe, self.weights(), self.config(), self.vocabularies(), self.weight_files())


def dev_scores(metrics: Suite, done: Evaluation) -> dict[str, float]:
    """The scores of an evaluation, as a training run logs them.

    What makes a score say little, such as a metric that doesn't suit the language, is told once.
    """
    for warning in metrics.new_warnings(done.items, done.generations, done.statistics):
        console.warn(f"dev split: {warning}")
    scores = metrics.score(done.statistics.sum(0), len(done.statistics))
    return {key: float(value) for key, value in scores.items()}
