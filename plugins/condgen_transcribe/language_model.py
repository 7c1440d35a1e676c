"""The language model that scores hypotheses beside the speller, trained on transcripts and on text in their style."""

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
    """``[data]``: the data set of transcripts.

    Args:
        text: file below the data folder with one further sentence per line, plain, .gz or .xz; it must not have sentences of a
            dev or test split.
        vocabulary_size: number of subwords, learnt from the transcripts; if too small for any, characters are used.
        longest: length in tokens above which sentences are left out.
    """

    text: str = ""
    vocabulary_size: int = Field(8, ge=8)
    longest: int = Field(400, ge=1)


@dataclass(frozen=True)
class Batch:
    """Sentences: inputs (rows, steps), bos first; targets (rows, steps), eos last; steps without padding (rows,)."""

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
        """The loss, and the number of tokens."""
        features, _ = self.model(batch.inputs)
        steps = torch.arange(batch.inputs.shape[1], device=batch.lengths.device)
        real = (steps < batch.lengths.unsqueeze(1)).flatten().nonzero().squeeze(1)
        targets = batch.targets.flatten().index_select(0, real)
        loss = self.model.cross_entropy(features.flatten(0, 1).index_select(0, real), targets)
        return loss, {"tokens": float(len(targets))}


class LanguageModelExperiment(Experiment):
    """Trains language models on transcripts and further sentences; the dev metric is the likelihood of the dev transcripts."""

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
        """Batches of indices of sentences of similar length."""
        return list(batches_of_like_length(self.sizes, self.recipe.training.batch_size, rng, parts=4))

    def batch(self, part: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """A batch of sentences."""
        return self._make_batch([self.sentences[index] for index in part])

    dev_metrics = ("nats_per_token",)

    def evaluate(self) -> dict[str, float]:
        """Negative log-likelihood per token of the dev transcripts, in nats."""
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
    """The non-blank lines of a text file, plain or compressed by gzip or xz.

    Raises:
        NotFoundError: if the file is missing.
        InputError, IntegrityError: if it isn't UTF-8, or its compressed data is damaged.
    """
    return [sentence for line in read_lines(path) if (sentence := line.strip())]


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> Any:
    """Refuse to run a bare language model, which is a part of speech models.

    Raises:
        UsageError: always.
    """
    raise UsageError("a language model alone can't transcribe; speech recipes name it as data.language_model")
