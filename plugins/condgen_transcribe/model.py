"""Listen, Attend and Spell (Chan et al. 2016): a listener encodes sound, a speller with attention writes the transcript.

With ``ctc`` the listener has a CTC output layer, as in hybrid CTC/attention recognition (Watanabe et al. 2017): it makes
training on little data converge, and scores hypotheses in decoding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from condgen_cli.data.audio import Sound, load_audio
from condgen_cli.data.filterbank import Filterbank, normalise
from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.errors import IntegrityError
from condgen_cli.generation import Axis, Generation
from condgen_cli.model import Item, Memory
from condgen_cli.nn import (
    DecoderModel,
    Dropout,
    LanguageModel,
    LanguageModelScorer,
    RecurrentDecoder,
    make_attention,
    run,
)
from condgen_cli.running.decoding import Hypothesis, Scorer
from condgen_cli.training import check
from condgen_transcribe.ctc import BLANK, NEVER, CTCPrefixScorer
from condgen_transcribe.doubts import find_doubts
from condgen_transcribe.phones import PhoneScorer
from condgen_transcribe.pronunciation import PHONES
from condgen_transcribe.subtitles import time_words
from condgen_transcribe.words import Lexicon, WordModel, WordScorer

__all__ = [
    "LEXICON_FILE",
    "VOCABULARY_FILE",
    "LanguageModelConfig",
    "Speech",
    "TranscribeConfig",
    "TranscribeModel",
    "WordsConfig",
    "build",
    "pad_features",
]

VOCABULARY_FILE = "vocabulary.json"
LEXICON_FILE = "lexicon.json"
RATE = 16000
SHIFT = 0.01
"""Frame shift, in seconds."""
PART = RATE // 10
"""Samples of the parts of a recording that can be hidden."""


class LanguageModelConfig(BaseModel):
    """Options of a language model over the speller's tokens; see ``condgen_cli.nn.LanguageModel``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    embedding_size: int = Field(128, ge=1)
    hidden_size: int = Field(512, ge=1)
    layers: int = Field(1, ge=1)
    dropout: float = Field(0.3, ge=0, lt=1)

    def make(self, vocabulary_size: int) -> LanguageModel:
        return LanguageModel(vocabulary_size, self.embedding_size, self.hidden_size, self.layers, self.dropout)


class WordsConfig(BaseModel):
    """Sizes of a bigram model of words, set by training; see ``condgen_transcribe.words.WordModel``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    words: int = Field(ge=1)
    bigrams: int = Field(ge=0)


class TranscribeConfig(BaseModel):
    """Options of the speech models.

    Args:
        bins: number of log-mel filter banks.
        convolutions: number of convolutional layers before the recurrent ones, each of which halves frequency.
        halvings: number of these layers, counted from the first, that halve time too; None: all.
        channels: channels of each convolutional layer.
        layers: number of bidirectional LSTM layers of the listener.
        pyramid: number of these layers, counted from the second, that join pairs of positions (Chan et al. 2016, eq. 5).
        listener_size: units of the listener's LSTMs in each direction.
        embedding_size, hidden_size: sizes of the speller.
        match: name of a match function, or ``module:Class`` (see ``match_function``).
        match_size: size of the match function's hidden layer.
        location: whether attention is location-aware (Chorowski et al. 2015).
        ctc: whether the listener has a CTC output layer.
        phones: whether it has a CTC output layer of phones too, ``condgen_transcribe.pronunciation.PHONES``.
        dropout: dropout on embeddings, between the listener's layers, on the memory and on the output layer.
        language_model: language model that scores hypotheses; None: none.
        words: bigram model of words that scores hypotheses; None: none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bins: int = Field(80, ge=1)
    convolutions: int = Field(2, ge=0)
    halvings: int | None = Field(None, ge=0)
    channels: int = Field(32, ge=1)
    layers: int = Field(3, ge=1)
    pyramid: int = Field(0, ge=0)
    listener_size: int = Field(256, ge=1)
    embedding_size: int = Field(128, ge=1)
    hidden_size: int = Field(256, ge=1)
    match: str = "additive"
    match_size: int = Field(128, ge=1)
    location: bool = True
    ctc: bool = True
    phones: bool = False
    dropout: float = Field(0.3, ge=0, lt=1)
    language_model: LanguageModelConfig | None = None
    words: WordsConfig | None = None


class Speech(NamedTuple):
    """A batch of utterances.

    Args:
        features: (batch, frames, bins) filter banks, 0 at padding.
        lengths: (batch,) frames without padding, at least 1, on the CPU.
        starts: start of each utterance in its recording, in seconds.
    """

    features: Tensor
    lengths: Tensor
    starts: Sequence[float] = ()

    def to(self, device: torch.device | str, **options: object) -> Speech:
        """The batch on a device; lengths stay on the CPU, where sequences are packed."""
        return self._replace(features=self.features.to(device))


def pad_features(features: Sequence[Tensor]) -> Speech:
    """A batch of utterances (frames, bins)."""
    lengths = torch.tensor([len(one) for one in features])
    return Speech(nn.utils.rnn.pad_sequence(list(features), batch_first=True), lengths)


class Listener(nn.Module):
    """The encoder: convolutions that halve frequency and time, then bidirectional LSTMs, which may halve time as well (Chan et
    al. 2016, section 3.1).

    Inputs of each LSTM and outputs of the last are layer-normalised: otherwise three LSTMs with initial weights pass on so
    little of the sound that CTC needs many epochs to start learning.
    """

    def __init__(self, config: TranscribeConfig) -> None:
        super().__init__()
        channels = [1, *[config.channels] * config.convolutions]
        self.halvings = config.convolutions if config.halvings is None else min(config.halvings, config.convolutions)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=(2 if number < self.halvings else 1, 2), padding=1)
            for number, (before, after) in enumerate(pairwise(channels))
        )
        bins = config.bins
        for _ in self.convolutions:
            bins = _halve(bins)
        self.pyramid = config.pyramid
        sizes = [channels[-1] * bins]
        sizes += [2 * config.listener_size * (2 if self._halves(layer) else 1) for layer in range(1, config.layers)]
        self.layers = nn.ModuleList(nn.LSTM(size, config.listener_size, batch_first=True, bidirectional=True) for size in sizes)
        self.norms = nn.ModuleList(nn.LayerNorm(size) for size in [*sizes, 2 * config.listener_size])
        self.dropout = Dropout(config.dropout)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """States (batch, positions, 2 · listener_size), 0 at padding, and lengths in positions (batch,), of features (batch,
        frames, bins) and lengths in frames (batch,)."""
        maps = features.unsqueeze(1)
        for number, convolution in enumerate(self.convolutions):
            if number < self.halvings:
                lengths = _halve(lengths)
            maps = _mask_padding(convolution(maps).relu(), lengths, 2)
        outputs = maps.transpose(1, 2).flatten(2)
        for index, layer in enumerate(self.layers):
            if self._halves(index):
                lengths = _halve(lengths)
                outputs = F.pad(outputs, (0, 0, 0, outputs.shape[1] % 2)).reshape(len(outputs), -1, 2 * outputs.shape[2])
            assert isinstance(layer, nn.LSTM)
            outputs = self.norms[index](outputs)
            outputs, _ = run(layer, self.dropout(outputs) if index else outputs, lengths)
        return _mask_padding(self.norms[-1](outputs), lengths, 1), lengths

    def frames_per_position(self) -> int:
        return int(2 ** (self.halvings + sum(map(self._halves, range(len(self.layers))))))

    def _halves(self, layer: int) -> bool:
        return 0 < layer <= self.pyramid


def _halve(size: Any) -> Any:
    return (size + 1) // 2


def _mask_padding(maps: Tensor, lengths: Tensor, dimension: int) -> Tensor:
    """Set values beyond each row's length to 0, so that results don't depend on the rest of the batch."""
    shape = [1] * maps.dim()
    shape[dimension] = -1
    positions = torch.arange(maps.shape[dimension], device=maps.device).view(shape)
    return maps * (positions < lengths.to(maps.device).view(-1, *[1] * (maps.dim() - 1))).to(maps.dtype)


class TranscribeModel(DecoderModel):
    """Listens, attends and spells (Chan et al. 2016).

    Args:
        config: options.
        vocabulary: subwords of transcripts.
        lexicon: words of ``config.words``; None without them.
    """

    vocabulary: SubwordVocabulary

    def __init__(self, config: TranscribeConfig, vocabulary: SubwordVocabulary, lexicon: Lexicon | None = None) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        self.lexicon = lexicon
        self.filterbank = Filterbank(bins=config.bins, rate=RATE)
        self.listener = Listener(config)
        value_size = 2 * config.listener_size
        attention = make_attention(
            config.match, config.hidden_size, value_size, config.match_size, location_aware=config.location
        )
        self.decoder = RecurrentDecoder(
            len(vocabulary), config.embedding_size, config.hidden_size, value_size, attention, dropout=config.dropout
        )
        self.ctc = nn.Linear(value_size, len(vocabulary)) if config.ctc else None
        self.phones = nn.Linear(value_size, 1 + len(PHONES)) if config.phones else None
        self.language_model = None if config.language_model is None else config.language_model.make(len(vocabulary))
        self.words = None if config.words is None else WordModel(config.words.words, config.words.bigrams)
        self.word_scorer: WordScorer | None = None
        self.phone_scorer: PhoneScorer | None = None
        self.dropout = Dropout(config.dropout)

    def scorers(self) -> dict[str, Scorer]:
        """The scorers that the model has: ``ctc``, ``phones``, ``language_model``, ``words``."""
        scorers: dict[str, Scorer] = {}
        if self.ctc is not None:
            scorers["ctc"] = CTCPrefixScorer(self.vocabulary.bos, self.vocabulary.eos)
        if self.language_model is not None:
            scorers["language_model"] = LanguageModelScorer(self.language_model)
        if self.words is not None and self.lexicon is not None:
            # made after the weights are loaded, and kept for their caches of word beginnings
            self.word_scorer = self.word_scorer or WordScorer(self.words, self.lexicon, self.vocabulary)
            scorers["words"] = self.word_scorer
            if self.phones is not None and self.lexicon.sounds:
                shares = self.words.unigram[:-1].exp()
                self.phone_scorer = self.phone_scorer or PhoneScorer(self.lexicon, shares, self.vocabulary)
                scorers["phones"] = self.phone_scorer
        return scorers

    def example(self) -> Item:
        """An example item, for inspecting the architecture."""
        return Item("example", Sound(np.zeros(RATE, np.float32), RATE))

    def length(self, item: Item) -> int:
        """Number of samples, by which batches are sorted; 0 if they aren't decoded yet."""
        return len(item.condition.samples) if isinstance(item.condition, Sound) else 0

    def condition(self, item: Item) -> Sound:
        """The sound that attention maps are drawn with."""
        return Sound(load_audio(item.condition, RATE), RATE)

    def finish(self, generation: Generation, hypothesis: Hypothesis, item: Item) -> Generation:
        """The transcript with the times of its ``words``, and warnings where it may not be speech."""
        details = {"words": time_words(generation, item)}
        return replace(generation, details=details, warnings=(*generation.warnings, *find_doubts(generation, item)))

    def features(self, samples: NDArray[np.float32]) -> Tensor:
        """Normalised filter banks (frames, bins) of samples (n,); one frame of zeros if these are too short."""
        found = normalise(self.filterbank(samples))
        return found if len(found) else torch.zeros(1, self.config.bins)

    def parts(self, item: Item) -> tuple[Axis, ...]:
        """Tenths of seconds of the recording."""
        start = item.meta.get("start", 0.0)
        count = -(-len(load_audio(item.condition, RATE)) // PART)
        return (Axis("time", "time", tuple(start + place * PART / RATE for place in range(count))),)

    def occlude(self, item: Item, hidden: NDArray[np.bool_]) -> list[Item]:
        """Copies of the recording with white noise in place of the hidden parts, as loud as the quietest tenth of its parts."""
        samples = load_audio(item.condition, RATE)
        parts = np.pad(samples, (0, -len(samples) % PART)).reshape(-1, PART)
        loudness = np.quantile(np.sqrt((parts**2).mean(1)), 0.1)
        noise = np.random.default_rng(0).standard_normal(len(samples)).astype(np.float32) * np.float32(loudness)
        masks = np.repeat(hidden, PART, 1)[:, : len(samples)]
        return [replace(item, condition=Sound(np.where(mask, noise, samples), RATE)) for mask in masks]

    def collate(self, items: Sequence[Item]) -> Speech:
        """A batch of filter banks."""
        speech = pad_features([self.features(load_audio(item.condition, RATE)) for item in items])
        return speech._replace(starts=[item.meta.get("start", 0.0) for item in items])

    def encode(self, batch: Speech) -> Memory:
        """The listener's states as a memory, with log-probabilities of its CTC outputs as auxiliary tensors."""
        values, lengths = self.listener(batch.features.to(self.decoder.bias.device), batch.lengths)
        values = self.dropout(values)
        mask = torch.arange(values.shape[1], device=values.device) < lengths.to(values.device).unsqueeze(1)
        vector = values.sum(1) / mask.sum(1, keepdim=True)
        auxiliary = {}
        if self.ctc is not None:
            auxiliary["ctc"] = _blank_padding(self.ctc(values).log_softmax(-1), mask)
        if self.phones is not None:
            auxiliary["phones"] = _blank_padding(self.phones(values).log_softmax(-1), mask)
        assert self.decoder.attention is not None
        seconds = SHIFT * self.listener.frames_per_position()
        axes = [
            (Axis("time", "time", tuple(start + seconds * place for place in range(length))),)
            for start, length in zip(batch.starts, lengths.tolist(), strict=False)
        ]
        return Memory(values, self.decoder.attention.keys(values), mask, axes, auxiliary, vector)


def _blank_padding(log_probs: Tensor, mask: Tensor) -> Tensor:
    """Make padded positions certain blanks."""
    blank = torch.full_like(log_probs[:1, :1], NEVER)
    blank[..., BLANK] = 0.0
    return torch.where(mask.unsqueeze(2), log_probs, blank)


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> TranscribeModel:
    """The model of a manifest entry or a run, without its weights.

    Raises:
        UsageError: for unknown or impossible options.
        IntegrityError: if the lexicon is malformed or has another number of words than the model.
    """
    parsed = check(TranscribeConfig, config, source="speech model")
    lexicon = None
    if parsed.words is not None:
        lexicon = Lexicon.load(files[LEXICON_FILE])
        if len(lexicon) != parsed.words.words:
            raise IntegrityError(f"{files[LEXICON_FILE]} has {len(lexicon)} words, the model {parsed.words.words}")
    return TranscribeModel(parsed, SubwordVocabulary.load(files[VOCABULARY_FILE]), lexicon)
