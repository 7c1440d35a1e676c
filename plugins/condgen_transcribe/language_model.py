"""The language model beside the speller, trained on transcripts and on any text that is written like them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from condgen_cli import training
from condgen_cli.data.packed import read_lines
from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.errors import UsageError
from condgen_cli.nn import LanguageModel
from condgen_cli.running.pipeline import batched
from condgen_cli.training import Experiment, check
from condgen_cli.training.batches import batches_of_like_length, teacher_forcing
from condgen_cli.training.export import SavedVocabulary
from condgen_transcribe.model import VOCABULARY_FILE, LanguageModelConfig

__all__ = ["LanguageModelExperiment", "build", "read_sentences"]


class DataOptions(training.DataOptions):
    """``[data]``: the data set whose transcripts are read.

    Args:
        text: a file with a further sentence in each line, below the data folder, plain, .gz or .xz; nothing in it may stand in
            a dev or test split.
        vocabulary_size: of the subwords, learnt from the transcripts; too small for any, they are characters.
        longest: longer sentences, in tokens, are left out.
    """

    text: str = ""
    vocabulary_size: int = Field(8, ge=8)
    longest: int = Field(400, ge=1)


@dataclass(frozen=True)
class Batch:
    """Sentences: inputs (rows, steps) with bos first, targets (rows, steps) with eos last, real steps (rows,)."""

    inputs: Tensor
    targets: Tensor
    lengths: Tensor

    def to(self, device: torch.device | str, **options: object) -> Batch:
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device), lengths=self.lengths.to(device))


class Objective(training.Objective):
    """Cross-entropy per token, in nats."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The loss, and how many tokens it was taken over."""
        features, _ = self.model(batch.inputs)
        steps = torch.arange(batch.inputs.shape[1], device=batch.lengths.device)
        real = (steps < batch.lengths.unsqueeze(1)).flatten().nonzero().squeeze(1)
        targets = batch.targets.flatten().index_select(0, real)
        loss = self.model.cross_entropy(features.flatten(0, 1).index_select(0, real), targets)
        return loss, {"tokens": float(len(targets))}


class LanguageModelExperiment(Experiment):
    """How language models are trained: on transcripts and further sentences, judged by how likely the dev transcripts are."""

    data_options = DataOptions
    unit = "sentences"

    data: DataOptions
    model: LanguageModel

    def prepare(self) -> None:
        self._config = check(LanguageModelConfig, self.recipe.model.options, "model")
        transcripts, dev = ([item.references[0] for item in self.read(split)] for split in ("train", "dev"))
        self.vocabulary = self.initial.vocabulary(
            VOCABULARY_FILE,
            SubwordVocabulary.load,
            lambda: SubwordVocabulary.train(transcripts, self.data.vocabulary_size),
        )
        self.model = self._config.make(len(self.vocabulary))
        self.initial.load_into(self.model)
        further = read_sentences((self.data_dir or Path()) / self.data.text) if self.data.text else []
        self.sentences = self._tokens([*transcripts, *further])
        self.sizes = np.array([len(sentence) for sentence in self.sentences])
        self.dev_sentences = self._tokens(dev)
        self.objective = Objective(self.model)

    def plan(self, epoch: int, rng: np.random.Generator) -> Sequence[NDArray[np.int64]]:
        """Indices of sentences of like length."""
        return list(batches_of_like_length(self.sizes, self.recipe.training.batch_size, rng, parts=4))

    def batch(self, part: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """Sentences as tokens."""
        return self._make_batch([self.sentences[index] for index in part])

    dev_metrics = ("nats_per_token",)

    def evaluate(self) -> dict[str, float]:
        """The negative log-likelihood of a token of the dev transcripts."""
        total = tokens = 0.0
        for sentences in batched(sorted(self.dev_sentences, key=len), 50):
            loss, stats = self.objective(self._make_batch(sentences))
            total += loss.item() * stats["tokens"]
            tokens += stats["tokens"]
        return {"nats_per_token": total / tokens}

    def config(self) -> Mapping[str, Any]:
        return self._config.model_dump()

    def vocabularies(self) -> Mapping[str, SavedVocabulary]:
        return {VOCABULARY_FILE: self.vocabulary}

    def _make_batch(self, sentences: Sequence[Sequence[int]]) -> Batch:
        return Batch(*teacher_forcing(sentences, self.vocabulary.bos, self.vocabulary.eos, self.vocabulary.pad))

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        encoded = (self.vocabulary.encode(text) for text in texts)
        return [ids for ids in encoded if 0 < len(ids) <= self.data.longest]


def read_sentences(path: Path) -> list[str]:
    """The lines of a text file, packed by gzip or xz or not, without blank ones.

    Raises:
        NotFoundError: if there is no such file.
        InputError, IntegrityError: if it isn't UTF-8, or is packed and damaged.
    """
    return [sentence for line in read_lines(path) if (sentence := line.strip())]


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> Any:
    """Refuse to run a bare language model: it is a part of speech models.

    Raises:
        UsageError: always.
    """
    raise UsageError("a language model alone transcribes nothing: it is what speech recipes name as language_model")
