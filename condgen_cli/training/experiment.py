"""The experiment: how a plugin describes a model that can be trained."""

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
from condgen_cli.training.mixture import Source
from condgen_cli.training.objective import Objective
from condgen_cli.training.options import DataOptions, Options
from condgen_cli.training.recipe import Recipe, check
from condgen_cli.training.splits import read_split

__all__ = ["Experiment", "dev_scores"]


class Experiment(ABC):
    """A model to train, with its data, loss and evaluation.

    A subclass implements ``prepare``, which reads the data and builds the model, and ``batch``, which makes a batch. The rest
    has defaults: epochs with batches of similar length, scores on the dev split by decoding as ``condgen eval`` does, and
    export of the model.

    Attributes:
        data_options: class of the settings in ``[data]``.
        objective_options: class of the settings in ``[objective]``.
        metric_keys: keys of the dev metrics; empty: those of the data set, or else of its task.
        dev_batch_size: number of dev items decoded at once.
        unit: plural noun for the training examples, such as ``pairs``.
        model: the model, set by ``prepare``.
        objective: the model with its loss, set by ``prepare``.
        sizes: (examples,) sizes that batches of similar length are made by, such as numbers of tokens, set by ``prepare``.
        dev: the items that ``evaluate`` scores, set by ``prepare``.
        more_dev: further items to score, of other data sets, by the label that their metrics' names end in.

    Args:
        recipe: the settings; ``recipe.model.options`` are those of the architecture.
        data_dir: folder of the data set, as ``--data-dir`` gives it; None: the default places.
    Raises:
        UsageError: if the recipe's settings don't fit the model or the data.
        CondgenError: if the data can't be read.
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
    more_dev: Mapping[str, Sequence[Item]]

    def __init__(self, recipe: Recipe, data_dir: Path | None = None) -> None:
        self.recipe = recipe
        self.data_dir = data_dir
        self.data = check(self.data_options, recipe.data.model_dump(), "data")
        self.options = check(self.objective_options, recipe.objective, "objective")
        self.decoding = recipe.make_decoding()
        self.initial = InitialModel(recipe.init)
        self.more_dev = {}
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Read the data; set ``model``, ``objective``, ``sizes`` and ``dev``."""

    @abstractmethod
    def batch(self, part: Any, rng: np.random.Generator) -> Any:
        """Make a batch: nested tuples, lists and dicts of CPU tensors, or an object with a method ``to(device)``.

        Args:
            part: an element of the epoch's plan, by default the indices of the examples.
            rng: generator for anything random, such as noise; it depends on the seed and the epoch alone.
        """

    def plan(self, epoch: int, rng: np.random.Generator) -> Sequence[Any]:
        """For each batch of an epoch, what ``batch`` makes it from: by default indices of examples of similar length.

        Args:
            epoch: number of the epoch, from 0.
            rng: generator that depends on the seed and the epoch alone.
        """
        return list(batches_of_like_length(self.sizes, self.recipe.training.batch_size, rng))

    def batches(self, epoch: int) -> Epoch:
        """The batches of an epoch, from 0; they depend on the seed and the epoch alone, so that a resumed run sees the same."""
        seed = [self.recipe.seed, epoch]
        return Epoch(self.plan(epoch, np.random.default_rng(seed)), self.batch, [*seed, 1])

    @cached_property
    def metrics(self) -> Suite:
        """The dev metrics."""
        return dataset_suite(dataset_spec(self.data.dataset), self.data.options, keys=self.metric_keys)

    @property
    def dev_metrics(self) -> tuple[str, ...]:
        """Names of the metrics that ``evaluate`` returns; those of further dev splits end in their labels."""
        return (*self.metrics.keys, *(f"{key}_{label}" for label in self.more_dev for key in self.metrics.keys))

    @property
    def material(self) -> str:
        """The number of training examples with their unit, for messages."""
        return f"{len(self.sizes):,} {self.unit}"

    def evaluate(self) -> Mapping[str, float]:
        """Metrics on the dev splits. The loop calls this in evaluation mode, without gradients, on one process."""
        scores = self.score(self.dev)
        for label, items in self.more_dev.items():
            scores |= {f"{key}_{label}": value for key, value in self.score(items).items()}
        return scores

    def score(self, items: Sequence[Item]) -> dict[str, float]:
        """The dev metrics of the model's outputs for items, decoded as a released model decodes them.

        Raises:
            CondgenError: the error of the first item that fails.
        """
        bundle = Bundle(self.recipe.name, self.recipe.task, self.recipe.model.architecture, {}, {}, {})
        runner = Runner(self.model, bundle, next(self.model.parameters()).device)
        done = evaluate(runner, items, self.metrics, decoding=self.decoding, batch_size=self.dev_batch_size)
        if done.failures:
            raise done.failures[0][1]
        return dev_scores(self.metrics, done)

    def read(self, split: str, source: Source | None = None) -> list[Item]:
        """The items of ``train`` or ``dev``, at most ``data.limit`` or ``data.dev_limit`` of them.

        Args:
            split: name of the split.
            source: the data set; None: the recipe's main one.
        Raises:
            UsageError: if there are none.
            CondgenError: if they can't be read.
        """
        limit = self.data.dev_limit if split == "dev" else self.data.limit
        data = source or self.data
        return read_split(data.dataset, split, self.data_dir, data.options, limit)

    def config(self) -> Mapping[str, Any]:
        """The config of the architecture's builder; by default the fields of ``model.config``."""
        return dict(self.model.config.model_dump())

    def weights(self) -> Mapping[str, Tensor]:
        """The weights to export, by name; by default all of the model's."""
        return dict(self.model.state_dict())

    def vocabularies(self) -> Mapping[str, SavedVocabulary]:
        """The vocabularies to export beside the weights, by file name."""
        return {}

    def weight_files(self) -> Mapping[str, str]:
        """Further weight files to export: the prefix of the weights that go there, by file name."""
        return {}

    def export(self, directory: Path) -> None:
        """Write the model's files, which ``condgen_cli.running.runner.load`` reads."""
        write_model(directory, self.recipe, self.weights(), self.config(), self.vocabularies(), self.weight_files())


def dev_scores(metrics: Suite, done: Evaluation) -> dict[str, float]:
    """The scores of an evaluation by metric.

    Warns, once each, of reasons why a score says little, such as a metric that doesn't suit the language.
    """
    for warning in metrics.new_warnings(done.items, done.generations, done.statistics):
        console.warn(f"dev split: {warning}")
    scores = metrics.score(done.statistics.sum(0), len(done.statistics))
    return {key: float(value) for key, value in scores.items()}
