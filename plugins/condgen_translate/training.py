"""Training of the translation models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.training import Experiment, Options, check
from condgen_cli.training.batches import batches_of_like_length, teacher_forcing
from condgen_cli.training.export import SavedVocabulary
from condgen_cli.training.mixture import MixtureOptions, Part, Source, take_epoch
from condgen_translate.model import SOURCE_FILE, TARGET_FILE, Sentences, TranslateConfig, TranslateModel, pad_sentences
from condgen_translate.objective import CrossEntropy, TrainingBatch

__all__ = ["TranslateExperiment"]

UNKNOWN_CHARACTER = "\ue000"
"""A private-use character, which no vocabulary has."""
WORD = re.compile(r"[^\W_]+")

Pair = tuple[str, str]
"""A source sentence and its translation."""


class DataOptions(MixtureOptions):
    """``[data]``.

    Args:
        joint: whether both languages share one vocabulary, learnt from both.
        vocabulary_size: size of the joint vocabulary, or of each.
        max_length: largest length of training sentences on either side, in tokens; longer pairs are left out.
        copied: share of the training pairs in which a word found on both sides is replaced by an unknown character on both, so
            that the model learns to copy unknown words.
    """

    joint: bool = True
    vocabulary_size: int = Field(6000, ge=8)
    max_length: int = Field(80, ge=1)
    copied: float = Field(0.0, ge=0, le=1)


class ObjectiveOptions(Options):
    """``[objective]``: see ``CrossEntropy``."""

    label_smoothing: float = Field(0.1, ge=0, lt=1)


class TranslateExperiment(Experiment):
    """Trains translation models on pairs of similar length, from one or more data sets."""

    data_options = DataOptions
    objective_options = ObjectiveOptions
    unit = "pairs"

    data: DataOptions
    options: ObjectiveOptions
    model: TranslateModel

    def prepare(self) -> None:
        config = check(TranslateConfig, self.recipe.model.options, "model")
        sources = self.data.sources
        train = [self._pairs(source, config) for source in sources]
        self.dev = self.read("dev")
        self.more_dev = {source.label: self.read("dev", source) for source in self.data.more if source.dev}
        self.model = TranslateModel(config, *self._learn_vocabularies(list(chain(*train))))
        self.initial.load_into(self.model)
        self._take_short(train, [source.weight for source in sources])
        self.objective = CrossEntropy(self.model, self.options.label_smoothing)

    def plan(self, epoch: int, rng: np.random.Generator) -> Sequence[NDArray[np.int64]]:
        """Batches of indices of pairs of similar length, each data set's as often as its weight says."""
        taken = take_epoch(self.parts, epoch)
        return list(taken[batches_of_like_length(self.sizes[taken], self.recipe.training.batch_size, rng)])

    def batch(self, part: NDArray[np.int64], rng: np.random.Generator) -> TrainingBatch:
        """A batch of pairs."""
        source, target = self.model.source, self.model.vocabulary
        pairs = [self.pairs[index] for index in part]
        if self.data.copied:
            pairs = [_hide_copied(pair, rng) if rng.random() < self.data.copied else pair for pair in pairs]
        tokens, lengths = pad_sentences([source.encode(text) for text, _ in pairs], source.eos, source.pad)
        inputs, targets, steps = teacher_forcing([target.encode(text) for _, text in pairs], target.bos, target.eos, target.pad)
        return TrainingBatch(Sentences(tokens, lengths), inputs, targets, steps)

    def vocabularies(self) -> Mapping[str, SavedVocabulary]:
        """The target vocabulary, and the source vocabulary if it is another."""
        source = {} if self.model.source is self.model.vocabulary else {SOURCE_FILE: self.model.source}
        return {TARGET_FILE: self.model.vocabulary, **source}

    def _pairs(self, source: Source, config: TranslateConfig) -> list[Pair]:
        """A data set's training pairs, with normalised sources."""
        return [(config.read(item.condition), item.references[0]) for item in self.read("train", source)]

    def _learn_vocabularies(self, train: Sequence[Pair]) -> tuple[SubwordVocabulary, SubwordVocabulary]:
        """Source and target vocabularies: those of the initial model, else learnt from the training pairs, each used once."""
        files = self.initial.files
        if TARGET_FILE in files:
            target = SubwordVocabulary.load(files[TARGET_FILE])
            return (SubwordVocabulary.load(files[SOURCE_FILE]) if SOURCE_FILE in files else target), target
        sources, targets = [source for source, _ in train], [target for _, target in train]
        size = self.data.vocabulary_size
        if self.data.joint:
            joint = SubwordVocabulary.train([*sources, *targets], size)
            return joint, joint
        return SubwordVocabulary.train(sources, size), SubwordVocabulary.train(targets, size)

    def _take_short(self, train: Sequence[Sequence[Pair]], weights: Sequence[float]) -> None:
        """Keep the pairs of each data set that are short enough, with their sizes and their data set's range."""
        source, target, limit = self.model.source, self.model.vocabulary, self.data.max_length
        self.pairs: list[Pair] = []
        self.parts: list[Part] = []
        sizes = []
        for place, (pairs, weight) in enumerate(zip(train, weights, strict=True)):
            lengths = np.array([(len(source.encode(read)), len(target.encode(write))) for read, write in pairs])
            short = np.flatnonzero(((lengths <= limit) & (lengths > 0)).all(1))
            self.parts.append(Part(len(self.pairs), len(short), weight, [self.recipe.seed, place]))
            self.pairs += [pairs[index] for index in short.tolist()]
            sizes.append(lengths[short] @ np.array([1, limit + 1]))  # sorts by target length, then by source length
        self.sizes: NDArray[np.int64] = np.concatenate(sizes)


def _hide_copied(pair: tuple[str, str], rng: np.random.Generator) -> tuple[str, str]:
    """Replace a random word that both sides have, if there is one, by the unknown character."""
    source, target = pair
    found = [word for word in sorted(set(WORD.findall(target))) if _word_pattern(word).search(source)]
    if not found:
        return source, target
    word = _word_pattern(found[rng.integers(len(found))])
    return word.sub(UNKNOWN_CHARACTER, source), word.sub(UNKNOWN_CHARACTER, target)


def _word_pattern(word: str) -> re.Pattern[str]:
    """A pattern of the word not next to a Latin letter or digit."""
    return re.compile(f"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])")
