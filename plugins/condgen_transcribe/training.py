"""Training the speech models: features are computed once, for every speed, before the first step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from condgen_cli.console import progress
from condgen_cli.data.audio import Sound, load_audio
from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.decoding import reweighted
from condgen_cli.errors import UsageError
from condgen_cli.metrics.suite import build_suite
from condgen_cli.model import Item
from condgen_cli.plugins import manager
from condgen_cli.runner import initial_files
from condgen_cli.training import Recipe, check
from condgen_cli.training.sequences import (
    SavedVocabulary,
    batches_of_like_length,
    dev_scores,
    export,
    free_running,
    load_initial,
    teacher_forcing,
)
from condgen_cli.training.splits import read_split
from condgen_transcribe.language_model import read_lines
from condgen_transcribe.model import (
    LEXICON_FILE,
    RATE,
    SHIFT,
    VOCABULARY_FILE,
    TranscribeConfig,
    TranscribeModel,
    WordsConfig,
    pad_features,
)
from condgen_transcribe.objective import Objective, TrainingBatch, pad_phones
from condgen_transcribe.pronunciation import LetterToSound, numbered, read_dictionary
from condgen_transcribe.words import Lexicon, WordModel

__all__ = ["TranscribeExperiment", "mask"]

LANGUAGE_MODEL_FILE = "language-model.safetensors"
WORDS_FILE = "words.safetensors"


class WordOptions(BaseModel):
    """``[data.words]``: what a bigram model of words is counted from, beside the transcripts.

    Args:
        text: see ``condgen_transcribe.language_model.DataOptions``.
        word_count, bigram_count: rarer words and pairs are left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str = ""
    word_count: int = Field(2, ge=1)
    bigram_count: int = Field(2, ge=1)


class DataOptions(BaseModel):
    """``[data]`` beside the data set's name.

    Args:
        options: the data set's own.
        vocabulary_size: of the subwords; too small for any, they are characters.
        longest: longer training utterances, in seconds, are left out.
        short_epochs: the first so many epochs have none longer than ``short`` seconds: where there is less to search, CTC and
            attention find sooner what belongs where.
        short: in seconds.
        speeds: training utterances are heard at each of these (Ko et al. 2015), one drawn for each epoch.
        masks: of SpecAugment (Park et al. 2019), so many in time and as many in frequency; 0 for none.
        mask_frames, mask_bins: what a mask covers at most.
        language_model: a run or a zoo's model of a language model that ``[model.language_model]`` describes; its vocabulary is
            the speller's, its weights stay as they are. The model of ``init`` may have none.
        words: of a bigram model of words that judges hypotheses too; None for none.
        dictionary: of how words are said, a file in CMUdict's format below the data folder, for a model of phones.
        dev_utterances: how many of the dev split, evenly spread over it, are decoded at each evaluation; 0 for all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    options: dict[str, str] = {}
    vocabulary_size: int = Field(8, ge=8)
    longest: float = Field(17.0, gt=0)
    short_epochs: int = Field(0, ge=0)
    short: float = Field(10.0, gt=0)
    speeds: list[float] = Field([1.0], min_length=1)
    masks: int = Field(0, ge=0)
    mask_frames: int = Field(40, ge=1)
    mask_bins: int = Field(27, ge=1)
    language_model: str = ""
    words: WordOptions | None = None
    dictionary: str = ""
    dev_utterances: int = Field(0, ge=0)


class ObjectiveOptions(BaseModel):
    """``[objective]``: see ``Objective``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ctc: float = Field(0.3, ge=0, le=1)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    sampling: float = Field(0.0, ge=0, le=1)
    guidance: float = Field(0.0, ge=0)
    alignment: float = Field(0.0, ge=0)
    phones: float = Field(0.0, ge=0)


class TranscribeExperiment:
    """Implements ``condgen_cli.training.Experiment``.

    Args:
        recipe: ``[model]`` are fields of ``TranscribeConfig``; ``init`` names a model to go on from.
        data_dir: where the data set lies.
        run_dir: unused.
    """

    def __init__(self, recipe: Recipe, data_dir: Path | None, run_dir: Path) -> None:
        self.recipe = recipe
        config = check(TranscribeConfig, recipe.model.options, "model")
        self.decoding = recipe.make_decoding()
        self.data = check(DataOptions, recipe.data.model_dump(), "data")
        options = check(ObjectiveOptions, recipe.objective, "objective")
        _check_outputs(config, options)
        train, dev = (read_split(self.data.dataset, split, data_dir, self.data.options) for split in ("train", "dev"))
        self.dev = [_decoded(item) for item in _spread(dev, self.data.dev_utterances)]
        files = {} if recipe.init is None else initial_files(recipe.init)
        language_model = initial_files(self.data.language_model) if self.data.language_model else {}
        if config.phones and not self.data.dictionary:
            raise UsageError("recipe: data.dictionary: missing; it tells which phones model.phones are to hear")
        self.say = LetterToSound(read_dictionary((data_dir or Path()) / self.data.dictionary)) if config.phones else None
        words, lexicon = self._words(train, data_dir)
        sizes = None if words is None or lexicon is None else WordsConfig(words=len(lexicon), bigrams=len(words.second))
        if config.words not in (None, sizes):
            raise UsageError("recipe: model.words: the sizes are those of what data.words counts")
        config = config.model_copy(update={"words": sizes})
        self.model = TranscribeModel(config, self._vocabulary(train, files, language_model), lexicon)
        learnt = {name: path for name, path in files.items() if name != WORDS_FILE}
        load_initial(self.model, str(recipe.init), learnt, apart=("language_model.", "words.", "phones."))
        self.model.words = words
        if self.model.language_model is not None:
            if not (language_model or LANGUAGE_MODEL_FILE in files):
                raise UsageError("recipe: data.language_model: missing; the weights of model.language_model come from it")
            load_initial(self.model.language_model, self.data.language_model, language_model)
            self.model.language_model.requires_grad_(False)
        self._prepare(train)
        self.objective: nn.Module = Objective(self.model, **options.model_dump())
        # that the model has what hypotheses are to be judged by
        self.decoding = reweighted(self.decoding, self.model, self.decoding.weights)
        self.metrics = build_suite(("wer", "cer"), manager().metrics)

    @property
    def dev_metrics(self) -> tuple[str, ...]:
        """What ``evaluate`` gives."""
        return self.metrics.keys

    @property
    def material(self) -> str:
        """What is trained on, counted."""
        return f"{len(self.sizes):,} utterances"

    def batches(self, epoch: int) -> _Epoch:
        """Utterances of like length, in an order of the seed and the epoch."""
        rng = np.random.default_rng([self.recipe.seed, epoch])
        chosen = self.short if epoch < self.data.short_epochs and len(self.short) else np.arange(len(self.sizes))
        order = batches_of_like_length(self.sizes[chosen], self.recipe.training.batch_size, rng)
        return _Epoch(self, chosen[order], epoch)

    def evaluate(self) -> dict[str, float]:
        """Free-running scores on the dev split."""
        return dev_scores(self.metrics, self.dev, free_running(self.model, self.dev, self.decoding, batch_size=20))

    def export(self, directory: Path) -> None:
        """The model as ``load`` reads it, the language model in a file of its own."""
        vocabularies: dict[str, SavedVocabulary] = {VOCABULARY_FILE: self.model.vocabulary}
        parts = {} if self.model.language_model is None else {LANGUAGE_MODEL_FILE: "language_model."}
        if self.model.words is not None:
            parts[WORDS_FILE] = "words."
        if self.model.lexicon is not None:
            vocabularies[LEXICON_FILE] = self.model.lexicon
        export(directory, self.recipe, self.model, self.model.config, vocabularies, parts)

    def _words(self, train: Sequence[Item], data_dir: Path | None) -> tuple[WordModel | None, Lexicon | None]:
        """Bigrams of the transcripts and of the further text, and their words, with how they are said if the model asks."""
        options = self.data.words
        if options is None:
            return None, None
        further = read_lines((data_dir or Path()) / options.text) if options.text else []
        transcripts = [item.references[0] for item in train]
        words, lexicon = WordModel.counted(transcripts + further, options.word_count, options.bigram_count)
        return words, lexicon if self.say is None else lexicon.said(self.say)

    def _vocabulary(
        self, train: Sequence[Item], files: Mapping[str, Path], language_model: Mapping[str, Path]
    ) -> SubwordVocabulary:
        """That of the models to go on from, else learnt from the transcripts."""
        given = [SubwordVocabulary.load(some[VOCABULARY_FILE]) for some in (files, language_model) if VOCABULARY_FILE in some]
        if len({one.tokens for one in given}) > 1:
            raise UsageError(f"recipe: {self.recipe.init} and {self.data.language_model} have different vocabularies")
        return given[0] if given else SubwordVocabulary.train([item.references[0] for item in train], self.data.vocabulary_size)

    def _prepare(self, train: Sequence[Item]) -> None:
        """Features of every utterance that is short enough at each speed, its tokens and its phones."""
        self.features: list[list[Tensor]] = []
        self.tokens: list[list[int]] = []
        self.phones: list[Tensor] = []
        with progress(len(train), "features") as advance:
            for item in train:
                samples = load_audio(item.condition, RATE)
                if len(samples) <= self.data.longest * RATE:
                    # halves take half the memory, and their error is far below that of the sound itself
                    self.features.append([self.model.features(_at(samples, speed)).half() for speed in self.data.speeds])
                    self.tokens.append(self.model.vocabulary.encode(item.references[0]))
                    if self.say is not None:
                        said = (sound for word in item.references[0].split() for sound in self.say(word))
                        self.phones.append(torch.tensor([number for sound in said for number in numbered(sound)]))
                advance(1)
        self.sizes: NDArray[np.int64] = np.array([len(one[0]) for one in self.features])
        seconds = self.sizes * SHIFT * self.data.speeds[0]
        self.short: NDArray[np.int64] = np.flatnonzero(seconds <= self.data.short)


def _check_outputs(config: TranscribeConfig, options: ObjectiveOptions) -> None:
    """Make sure that the model has the outputs that the objective trains or goes by.

    Raises:
        UsageError: if it lacks one.
    """
    needed = {
        "ctc": (options.ctc > 0 and not config.ctc, "model.ctc=true"),
        "alignment": (options.alignment > 0 and not config.ctc, "model.ctc=true"),
        "phones": (options.phones > 0 and not config.phones, "model.phones=true"),
    }
    for name, (lacking, hint) in needed.items():
        if lacking:
            raise UsageError(f"recipe: objective.{name}: the model has no output for it", f"{hint}, or objective.{name}=0")


def _spread(items: Sequence[Item], count: int) -> Sequence[Item]:
    """So many, evenly spread, since items come speaker by speaker; 0 or too many: all."""
    if not 0 < count < len(items):
        return items
    return [items[index * len(items) // count] for index in range(count)]


def _decoded(item: Item) -> Item:
    """The item with its sound decoded, so that it is decoded once."""
    return replace(item, condition=Sound(load_audio(item.condition, RATE), RATE))


def _at(samples: NDArray[np.float32], speed: float) -> NDArray[np.float32]:
    """Samples heard at a speed, tempo and pitch alike."""
    return samples if speed == 1 else np.asarray(soxr.resample(samples, RATE * speed, RATE), np.float32)


def mask(features: Tensor, masks: int, frames: int, bins: int, rng: np.random.Generator) -> Tensor:
    """SpecAugment (Park et al. 2019, section 2): stripes of random width are set to the mean, which is 0.

    Args:
        features: (frames, bins), normalised.
        masks: in time, and in frequency.
        frames, bins: the widest; in time also a fifth of the utterance.
    """
    features = features.clone()
    length, size = features.shape
    for _ in range(masks):
        width = int(rng.integers(min(frames, length // 5) + 1))
        start = int(rng.integers(length - width + 1))
        features[start : start + width] = 0
        width = int(rng.integers(min(bins, size) + 1))
        start = int(rng.integers(size - width + 1))
        features[:, start : start + width] = 0
    return features


class _Epoch:
    """The batches of one epoch, made as they are asked for."""

    def __init__(self, experiment: TranscribeExperiment, order: NDArray[np.int64], epoch: int) -> None:
        self.experiment = experiment
        self.order = order
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[TrainingBatch]:
        own = self.experiment
        rng = np.random.default_rng([own.recipe.seed, self.epoch, 1])
        vocabulary, data = own.model.vocabulary, own.data
        for indices in self.order:
            drawn = [own.features[index][rng.integers(len(data.speeds))].float() for index in indices]
            masked = [mask(one, data.masks, data.mask_frames, data.mask_bins, rng) for one in drawn]
            texts = [own.tokens[index] for index in indices]
            inputs, targets, steps = teacher_forcing(texts, vocabulary.bos, vocabulary.eos, vocabulary.pad)
            said = [own.phones[index] for index in indices] if own.phones else None
            yield TrainingBatch(pad_features(masked), inputs, targets, steps, None if said is None else pad_phones(said))
