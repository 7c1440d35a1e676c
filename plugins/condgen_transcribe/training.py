"""Training of the speech models, on features computed in advance for every speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from condgen_cli import training
from condgen_cli.data.audio import Sound, load_audio
from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.errors import UsageError
from condgen_cli.model import Item
from condgen_cli.running.decoding import reweight
from condgen_cli.terminal.console import progress
from condgen_cli.training import Experiment, Options, check
from condgen_cli.training.batches import batches_of_like_length, teacher_forcing
from condgen_cli.training.export import SavedVocabulary
from condgen_cli.training.initial import InitialModel
from condgen_cli.training.splits import read_split
from condgen_transcribe.language_model import read_sentences
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
from condgen_transcribe.pronunciation import LetterToSound, number_phones, read_dictionary
from condgen_transcribe.words import Lexicon, WordModel

__all__ = ["TranscribeExperiment", "mask"]

LANGUAGE_MODEL_FILE = "language-model.safetensors"
WORDS_FILE = "words.safetensors"


class WordOptions(Options):
    """``[data.words]``: a bigram model of words, counted in the transcripts and in further text.

    Args:
        text: file of further sentences, see ``condgen_transcribe.language_model.DataOptions``.
        word_count, bigram_count: minimum counts of words and of bigrams.
    """

    text: str = ""
    word_count: int = Field(2, ge=1)
    bigram_count: int = Field(2, ge=1)


class DataOptions(training.DataOptions):
    """``[data]``. The items of ``dev_limit`` are evenly spread over the dev split.

    Args:
        vocabulary_size: number of subwords; if too small for any, characters are used.
        longest: length in seconds above which training utterances are left out.
        short_epochs: curriculum: for this many epochs, only utterances up to ``short`` seconds, whose alignment is easier to
            learn.
        short: longest utterance of the curriculum, in seconds.
        speeds: speeds for speed perturbation (Ko et al. 2015), one drawn for each utterance and epoch.
        masks: number of SpecAugment masks (Park et al. 2019) in time, and in frequency; 0: none.
        mask_frames, mask_bins: largest widths of masks.
        language_model: run or zoo model with the weights of ``[model.language_model]``, which are frozen; the speller takes its
            vocabulary. The model of ``init`` may have no language model.
        words: options of a bigram model of words that scores hypotheses; None: none.
        dictionary: pronouncing dictionary in CMUdict's format below the data folder, for a model with phones.
    """

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


class ObjectiveOptions(Options):
    """``[objective]``: see ``Objective``."""

    ctc: float = Field(0.3, ge=0, le=1)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    sampling: float = Field(0.0, ge=0, le=1)
    guidance: float = Field(0.0, ge=0)
    alignment: float = Field(0.0, ge=0)
    phones: float = Field(0.0, ge=0)


class TranscribeExperiment(Experiment):
    """Trains speech models on utterances of similar length, with speed perturbation and SpecAugment."""

    data_options = DataOptions
    objective_options = ObjectiveOptions
    metric_keys = ("wer", "cer")
    dev_batch_size = 20
    unit = "utterances"

    data: DataOptions
    options: ObjectiveOptions
    model: TranscribeModel

    def prepare(self) -> None:
        config = check(TranscribeConfig, self.recipe.model.options, "model")
        _check_outputs(config, self.options)
        if config.phones and not self.data.dictionary:
            raise UsageError("recipe: data.dictionary: missing; model.phones needs the pronunciations of words")
        train = self.read("train")
        dev = read_split(self.data.dataset, "dev", self.data_dir, self.data.options)
        self.dev = [_decode_sound(item) for item in _take_evenly(dev, self.data.dev_limit)]
        language_model = InitialModel(self.data.language_model, "data.language_model")
        folder = self.data_dir or Path()
        self.say = LetterToSound(read_dictionary(folder / self.data.dictionary)) if config.phones else None
        words, lexicon = self._count_words(train)
        sizes = None if words is None or lexicon is None else WordsConfig(words=len(lexicon), bigrams=len(words.second))
        if config.words not in (None, sizes):
            raise UsageError("recipe: model.words: the sizes must be those that data.words gives")
        config = config.model_copy(update={"words": sizes})
        self.model = TranscribeModel(config, self._vocabulary(train, language_model), lexicon)
        # word counts are those of this data, not of the initial model
        learnt = {name: tensor for name, tensor in self.initial.weights().items() if not name.startswith("words.")}
        self.initial.load_into(self.model, apart=("language_model.", "words.", "phones."), weights=learnt)
        self.model.words = words
        if self.model.language_model is not None:
            if not (language_model or LANGUAGE_MODEL_FILE in self.initial.files):
                raise UsageError("recipe: data.language_model: missing; the weights of model.language_model come from it")
            language_model.load_into(self.model.language_model)
            self.model.language_model.requires_grad_(False)
        self._compute_features(train)
        self.objective = Objective(self.model, **self.options.model_dump())
        # checks that the model has the scorers of the weights
        self.decoding = reweight(self.decoding, self.model, self.decoding.weights)

    def plan(self, epoch: int, rng: np.random.Generator) -> Sequence[NDArray[np.int64]]:
        """Batches of indices of utterances of similar length; short ones only in the first epochs."""
        chosen = self.short if epoch < self.data.short_epochs and len(self.short) else np.arange(len(self.sizes))
        return list(chosen[batches_of_like_length(self.sizes[chosen], self.recipe.training.batch_size, rng)])

    def batch(self, part: NDArray[np.int64], rng: np.random.Generator) -> TrainingBatch:
        """A batch of utterances at random speeds, masked, with their transcripts and phones."""
        vocabulary, data = self.model.vocabulary, self.data
        heard = [self.features[index][rng.integers(len(data.speeds))].float() for index in part]
        masked = [mask(one, data.masks, data.mask_frames, data.mask_bins, rng) for one in heard]
        texts = [self.tokens[index] for index in part]
        inputs, targets, steps = teacher_forcing(texts, vocabulary.bos, vocabulary.eos, vocabulary.pad)
        phones = pad_phones([self.phones[index] for index in part]) if self.phones else None
        return TrainingBatch(pad_features(masked), inputs, targets, steps, phones)

    def vocabularies(self) -> Mapping[str, SavedVocabulary]:
        lexicon = {} if self.model.lexicon is None else {LEXICON_FILE: self.model.lexicon}
        return {VOCABULARY_FILE: self.model.vocabulary, **lexicon}

    def weight_files(self) -> Mapping[str, str]:
        """Language model and word model have files of their own."""
        files = {} if self.model.language_model is None else {LANGUAGE_MODEL_FILE: "language_model."}
        return files if self.model.words is None else {**files, WORDS_FILE: "words."}

    def _count_words(self, train: Sequence[Item]) -> tuple[WordModel | None, Lexicon | None]:
        """Bigrams and lexicon of the transcripts and further text, with pronunciations if the model has phones."""
        options = self.data.words
        if options is None:
            return None, None
        further = read_sentences((self.data_dir or Path()) / options.text) if options.text else []
        transcripts = [item.references[0] for item in train]
        words, lexicon = WordModel.count(transcripts + further, options.word_count, options.bigram_count)
        return words, lexicon if self.say is None else lexicon.with_sounds(self.say)

    def _vocabulary(self, train: Sequence[Item], language_model: InitialModel) -> SubwordVocabulary:
        """The vocabulary of the initial models, else one learnt from the transcripts."""
        files = [model.files[VOCABULARY_FILE] for model in (self.initial, language_model) if VOCABULARY_FILE in model.files]
        given = [SubwordVocabulary.load(file) for file in files]
        if len({one.tokens for one in given}) > 1:
            raise UsageError(f"recipe: {self.initial.name} and {language_model.name} have different vocabularies")
        return given[0] if given else SubwordVocabulary.train([item.references[0] for item in train], self.data.vocabulary_size)

    def _compute_features(self, train: Sequence[Item]) -> None:
        """Features at each speed, tokens and phones of every utterance that is short enough."""
        self.features: list[list[Tensor]] = []
        self.tokens: list[list[int]] = []
        self.phones: list[Tensor] = []
        with progress(len(train), "features") as advance:
            for item in train:
                samples = load_audio(item.condition, RATE)
                if len(samples) <= self.data.longest * RATE:
                    # half precision takes half the memory, with an error far below the noise of the sound
                    self.features.append(
                        [self.model.features(_change_speed(samples, speed)).half() for speed in self.data.speeds]
                    )
                    self.tokens.append(self.model.vocabulary.encode(item.references[0]))
                    if self.say is not None:
                        said = (sound for word in item.references[0].split() for sound in self.say(word))
                        self.phones.append(torch.tensor([number for sound in said for number in number_phones(sound)]))
                advance(1)
        self.sizes = np.array([len(one[0]) for one in self.features])
        seconds = self.sizes * SHIFT * self.data.speeds[0]
        self.short: NDArray[np.int64] = np.flatnonzero(seconds <= self.data.short)


def _check_outputs(config: TranscribeConfig, options: ObjectiveOptions) -> None:
    """Check that the model has the outputs that the objective needs.

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


def _take_evenly(items: Sequence[Item], count: int) -> Sequence[Item]:
    """``count`` evenly spread items, since items are ordered by speaker; all if ``count`` is 0 or too large."""
    if not 0 < count < len(items):
        return items
    return [items[index * len(items) // count] for index in range(count)]


def _decode_sound(item: Item) -> Item:
    """The item with its sound decoded once."""
    return replace(item, condition=Sound(load_audio(item.condition, RATE), RATE))


def _change_speed(samples: NDArray[np.float32], speed: float) -> NDArray[np.float32]:
    """Samples at another speed, which changes tempo and pitch."""
    return samples if speed == 1 else np.asarray(soxr.resample(samples, RATE * speed, RATE), np.float32)


def mask(features: Tensor, masks: int, frames: int, bins: int, rng: np.random.Generator) -> Tensor:
    """SpecAugment (Park et al. 2019, section 2): bands of random width are set to the mean, which is 0.

    Args:
        features: (frames, bins) normalised features.
        masks: number of masks in time, and in frequency.
        frames, bins: largest widths of masks; in time also at most a fifth of the utterance.
        rng: random generator.
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
