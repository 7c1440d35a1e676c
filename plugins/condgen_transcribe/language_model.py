"""The language model beside the speller, trained on transcripts and on any text that is written like them."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.errors import InputError, NotFoundError, UsageError
from condgen_cli.nn import LanguageModel
from condgen_cli.pipeline import batched
from condgen_cli.runner import initial_files
from condgen_cli.training import Recipe, check
from condgen_cli.training.sequences import batches_of_like_length, export, load_initial, teacher_forcing
from condgen_cli.training.splits import read_split
from condgen_transcribe.model import VOCABULARY_FILE, LanguageModelConfig

__all__ = ["LanguageModelExperiment", "build", "read_lines"]

_OPENERS: Mapping[str, Callable[..., IO[str]]] = {".gz": gzip.open, ".xz": lzma.open}


class DataOptions(BaseModel):
    """``[data]`` beside the name of the data set whose transcripts are read.

    Args:
        options: the data set's own.
        text: a file with a further sentence in each line, below the data folder, plain, .gz or .xz; nothing in it may stand in
            a dev or test split.
        vocabulary_size: of the subwords, learnt from the transcripts; too small for any, they are characters.
        longest: longer sentences, in tokens, are left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    options: dict[str, str] = {}
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


class Objective(nn.Module):
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


class LanguageModelExperiment:
    """Implements ``condgen_cli.training.Experiment``; the dev metric is ``nats_per_token`` of the dev transcripts.

    Args:
        recipe: ``[model]`` are fields of ``LanguageModelConfig``; ``init`` names a model to go on from.
        data_dir: where the data set lies.
        run_dir: unused.
    """

    def __init__(self, recipe: Recipe, data_dir: Path | None, run_dir: Path) -> None:
        self.recipe = recipe
        self.config = check(LanguageModelConfig, recipe.model.options, "model")
        self.data = check(DataOptions, recipe.data.model_dump(), "data")
        transcripts, dev = (self._transcripts(split, data_dir) for split in ("train", "dev"))
        files = {} if recipe.init is None else initial_files(recipe.init)
        if VOCABULARY_FILE in files:
            self.vocabulary = SubwordVocabulary.load(files[VOCABULARY_FILE])
        else:
            self.vocabulary = SubwordVocabulary.train(transcripts, self.data.vocabulary_size)
        self.model = self.config.make(len(self.vocabulary))
        load_initial(self.model, str(recipe.init), files)
        if self.data.text:
            transcripts += read_lines((data_dir or Path()) / self.data.text)
        self.sentences = self._tokens(transcripts)
        self.sizes: NDArray[np.int64] = np.array([len(sentence) for sentence in self.sentences])
        self.dev = self._tokens(dev)
        self.objective: nn.Module = Objective(self.model)

    dev_metrics = ("nats_per_token",)

    @property
    def material(self) -> str:
        """What is trained on, counted."""
        return f"{len(self.sentences):,} sentences"

    def batches(self, epoch: int) -> _Epoch:
        """Sentences of like length, in an order of the seed and the epoch."""
        rng = np.random.default_rng([self.recipe.seed, epoch])
        return _Epoch(self, batches_of_like_length(self.sizes, self.recipe.training.batch_size, rng, parts=4))

    def evaluate(self) -> dict[str, float]:
        """How well the dev transcripts are foretold."""
        total = tokens = 0.0
        for sentences in batched(sorted(self.dev, key=len), 50):
            loss, stats = self.objective(self.batch(sentences))
            total += loss.item() * stats["tokens"]
            tokens += stats["tokens"]
        return {"nats_per_token": total / tokens}

    def export(self, directory: Path) -> None:
        """Weights and vocabulary, as a speech recipe's ``language_model`` reads them."""
        export(directory, self.recipe, self.model, self.config, {VOCABULARY_FILE: self.vocabulary})

    def batch(self, sentences: Sequence[Sequence[int]]) -> Batch:
        return Batch(*teacher_forcing(sentences, self.vocabulary.bos, self.vocabulary.eos, self.vocabulary.pad))

    def _transcripts(self, split: str, data_dir: Path | None) -> list[str]:
        return [item.references[0] for item in read_split(self.data.dataset, split, data_dir, self.data.options)]

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        encoded = (self.vocabulary.encode(text) for text in texts)
        return [ids for ids in encoded if 0 < len(ids) <= self.data.longest]


class _Epoch:
    """The batches of one epoch, made as they are asked for."""

    def __init__(self, experiment: LanguageModelExperiment, order: NDArray[np.int64]) -> None:
        self.experiment = experiment
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        for indices in self.order:
            yield self.experiment.batch([self.experiment.sentences[index] for index in indices])


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, plain, ``.gz`` or ``.xz``, without blank ones.

    Raises:
        NotFoundError: if there is no such file.
        InputError: if it is damaged or isn't UTF-8.
    """
    try:
        with _OPENERS.get(path.suffix, open)(path, "rt", encoding="utf-8") as lines:
            return [line.strip() for line in lines if line.strip()]
    except FileNotFoundError:
        raise NotFoundError(f"no file {path}") from None
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read: {error}") from None


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> Any:
    """Refuse to run a bare language model: it is a part of speech models.

    Raises:
        UsageError: always.
    """
    raise UsageError("a language model alone transcribes nothing: it is what speech recipes name as language_model")
