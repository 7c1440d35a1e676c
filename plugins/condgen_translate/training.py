"""Training of the translation models: what the core's loop asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from condgen_cli.data.store import dataset_spec
from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.metrics.suite import dataset_suite
from condgen_cli.model import Item
from condgen_cli.runner import initial_files
from condgen_cli.training import Recipe, check
from condgen_cli.training.sequences import (
    batches_of_like_length,
    dev_scores,
    export,
    free_running,
    load_initial,
    teacher_forcing,
)
from condgen_cli.training.splits import read_split
from condgen_translate.model import SOURCE_FILE, TARGET_FILE, Sentences, TranslateConfig, TranslateModel, pad_sentences
from condgen_translate.objective import CrossEntropy, TrainingBatch

__all__ = ["Part", "TranslateExperiment"]

UNKNOWN_CHARACTER = "\ue000"
"""A private character, which is in no vocabulary."""
WORD = re.compile(r"[^\W_]+")

Pair = tuple[str, str]
"""A source sentence and its translation."""


class MoreData(BaseModel):
    """``[[data.more]]``: a further data set.

    Args:
        dataset: its name.
        options: its own, such as ``name`` and ``source``.
        weight: how often a pair is taken in an epoch. Of 2.5 the half is a random half of the pairs, the other half in the
            epoch after.
        dev: its dev split is scored too, apart.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    options: dict[str, str] = {}
    weight: float = Field(1.0, gt=0, le=100)
    dev: bool = False

    @property
    def label(self) -> str:
        """What its scores are called by: ``zh-en-lctt`` for the file ``lctt`` of ``zh-en``."""
        return "-".join([self.dataset, *self.options.values()])


class DataOptions(BaseModel):
    """``[data]`` beside the data set's name.

    Args:
        options: the data set's own, such as ``source`` and ``target``.
        weight: how often a pair is taken in an epoch, as of ``MoreData``.
        more: further data sets to train on.
        pairs: train on the first so many pairs of each data set only; 0 for all.
        joint: one vocabulary for both languages, learnt from both.
        vocabulary_size: of the joint vocabulary, or of each.
        max_length: longer training sentences, in tokens of either side, are left out.
        copied: share of the training pairs in which a word that stands on both sides is made unknown on both, so that the
            model learns to copy unknown words.
        dev_pairs: how many of each dev split are decoded at each evaluation; 0 for all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    options: dict[str, str] = {}
    weight: float = Field(1.0, gt=0, le=100)
    more: list[MoreData] = []
    pairs: int = Field(0, ge=0)
    joint: bool = True
    vocabulary_size: int = Field(6000, ge=8)
    max_length: int = Field(80, ge=1)
    copied: float = Field(0.0, ge=0, le=1)
    dev_pairs: int = Field(0, ge=0)


class ObjectiveOptions(BaseModel):
    """``[objective]``: see ``CrossEntropy``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label_smoothing: float = Field(0.1, ge=0, lt=1)


class TranslateExperiment:
    """Implements ``condgen_cli.training.Experiment``.

    Args:
        recipe: ``[model]`` are fields of ``TranslateConfig``; ``init`` names a model to go on from.
        data_dir: where the data set lies.
        run_dir: unused.
    """

    def __init__(self, recipe: Recipe, data_dir: Path | None, run_dir: Path) -> None:
        self.recipe = recipe
        config = check(TranslateConfig, recipe.model.options, "model")
        self.data = check(DataOptions, recipe.data.model_dump(), "data")
        options = check(ObjectiveOptions, recipe.objective, "objective")
        main = MoreData(dataset=self.data.dataset, options=self.data.options, weight=self.data.weight)
        sources = [main, *self.data.more]
        train = [self._pairs(source, config, data_dir) for source in sources]
        self.dev = self._dev(main, data_dir)
        self.more_dev = {source.label: self._dev(source, data_dir) for source in self.data.more if source.dev}
        files = {} if recipe.init is None else initial_files(recipe.init)
        self.model = TranslateModel(config, *self._vocabularies(list(chain(*train)), files))
        load_initial(self.model, str(recipe.init), files)
        self._prepare(train, [source.weight for source in sources])
        self.objective: nn.Module = CrossEntropy(self.model, options.label_smoothing)
        self.decoding = recipe.make_decoding()
        self.metrics = dataset_suite(dataset_spec(self.data.dataset), self.data.options)

    @property
    def dev_metrics(self) -> tuple[str, ...]:
        """What ``evaluate`` gives."""
        further = [f"{key}_{label}" for label in self.more_dev for key in self.metrics.keys]
        return (*self.metrics.keys, *further)

    @property
    def material(self) -> str:
        """What is trained on, counted."""
        return f"{len(self.pairs):,} pairs"

    def batches(self, epoch: int) -> _Epoch:
        """Sentence pairs of like length, in an order of the seed and the epoch."""
        taken = np.concatenate([part.epoch(epoch) for part in self.parts])
        rng = np.random.default_rng([self.recipe.seed, epoch])
        order = batches_of_like_length(self.sizes[taken], self.recipe.training.batch_size, rng)
        return _Epoch(self, taken[order], epoch)

    def evaluate(self) -> dict[str, float]:
        """Free-running scores on the dev split, and on those of further data sets, whose names are added to the metrics'."""
        scores = self._scores(self.dev)
        for label, items in self.more_dev.items():
            scores |= {f"{key}_{label}": value for key, value in self._scores(items).items()}
        return scores

    def export(self, directory: Path) -> None:
        """The model as ``load`` reads it."""
        vocabularies = {TARGET_FILE: self.model.vocabulary}
        if self.model.source is not self.model.vocabulary:
            vocabularies[SOURCE_FILE] = self.model.source
        export(directory, self.recipe, self.model, self.model.config, vocabularies)

    def _scores(self, items: Sequence[Item]) -> dict[str, float]:
        return dev_scores(self.metrics, items, free_running(self.model, items, self.decoding))

    def _pairs(self, source: MoreData, config: TranslateConfig, data_dir: Path | None) -> list[Pair]:
        """A data set's training pairs, as vocabularies get them."""
        items = read_split(source.dataset, "train", data_dir, source.options, self.data.pairs)
        return [(config.read(item.condition), item.references[0]) for item in items]

    def _dev(self, source: MoreData, data_dir: Path | None) -> list[Item]:
        return read_split(source.dataset, "dev", data_dir, source.options, self.data.dev_pairs)

    def _vocabularies(self, train: Sequence[Pair], files: Mapping[str, Path]) -> tuple[SubwordVocabulary, SubwordVocabulary]:
        """Of source and target: those of the model to go on from, else learnt from the training pairs, each taken once."""
        if TARGET_FILE in files:
            target = SubwordVocabulary.load(files[TARGET_FILE])
            return (SubwordVocabulary.load(files[SOURCE_FILE]) if SOURCE_FILE in files else target), target
        sources, targets = [source for source, _ in train], [target for _, target in train]
        size = self.data.vocabulary_size
        if self.data.joint:
            joint = SubwordVocabulary.train([*sources, *targets], size)
            return joint, joint
        return SubwordVocabulary.train(sources, size), SubwordVocabulary.train(targets, size)

    def _prepare(self, train: Sequence[Sequence[Pair]], weights: Sequence[float]) -> None:
        """Pairs of each data set short enough to train on, which of them an epoch takes, and their sizes, by which batches are
        made.
        """
        source, target, limit = self.model.source, self.model.vocabulary, self.data.max_length
        self.pairs: list[Pair] = []
        self.parts: list[Part] = []
        sizes = []
        for place, (pairs, weight) in enumerate(zip(train, weights, strict=True)):
            lengths = np.array([(len(source.encode(read)), len(target.encode(write))) for read, write in pairs])
            short = np.flatnonzero(((lengths <= limit) & (lengths > 0)).all(1))
            self.parts.append(Part(len(self.pairs), len(short), weight, [self.recipe.seed, place]))
            self.pairs += [pairs[index] for index in short.tolist()]
            sizes.append(lengths[short] @ np.array([1, limit + 1]))  # by the target's, then the source's length
        self.sizes: NDArray[np.int64] = np.concatenate(sizes)


class Part(NamedTuple):
    """Where a data set's pairs stand among all.

    Args:
        start, size: the first, and how many.
        weight: how often a pair is taken in an epoch.
        seed: of the order that parts of epochs are taken in.
    """

    start: int
    size: int
    weight: float
    seed: Sequence[int]

    def epoch(self, epoch: int) -> NDArray[np.int64]:
        """Indices of the pairs that an epoch takes, some more than once.

        The whole part of ``weight`` takes all; the rest goes on through one random order where the epoch before it ended.
        """
        whole = np.tile(np.arange(self.size), int(self.weight))
        some = round(self.weight % 1 * self.size)
        if some:
            order = np.random.default_rng(self.seed).permutation(self.size)
            whole = np.concatenate([whole, order[(epoch * some + np.arange(some)) % self.size]])
        return self.start + whole


class _Epoch:
    """The batches of one epoch, made as they are asked for."""

    def __init__(self, experiment: TranslateExperiment, order: NDArray[np.int64], epoch: int) -> None:
        self.experiment = experiment
        self.order = order
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[TrainingBatch]:
        own = self.experiment
        rng = np.random.default_rng([own.recipe.seed, self.epoch, 1])
        source, target = own.model.source, own.model.vocabulary
        for indices in self.order:
            pairs = [own.pairs[index] for index in indices]
            if own.data.copied:
                pairs = [_copied(pair, rng) if rng.random() < own.data.copied else pair for pair in pairs]
            tokens, lengths = pad_sentences([source.encode(text) for text, _ in pairs], source.eos, source.pad)
            inputs, targets, steps = teacher_forcing(
                [target.encode(text) for _, text in pairs], target.bos, target.eos, target.pad
            )
            yield TrainingBatch(Sentences(tokens, lengths), inputs, targets, steps)


def _copied(pair: tuple[str, str], rng: np.random.Generator) -> tuple[str, str]:
    """The pair with a word that stands on both sides, if there is one, made unknown on both."""
    source, target = pair
    found = [word for word in sorted(set(WORD.findall(target))) if _whole(word).search(source)]
    if not found:
        return source, target
    word = _whole(found[rng.integers(len(found))])
    return word.sub(UNKNOWN_CHARACTER, source), word.sub(UNKNOWN_CHARACTER, target)


def _whole(word: str) -> re.Pattern[str]:
    """The word where no further letter or digit of the Latin script is next to it."""
    return re.compile(f"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])")
