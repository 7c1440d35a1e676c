"""Training of the dialogue models: what the core's loop asks for.

A batch holds whole dialogues, or long stretches of them, so that each turn is read once however many replies follow it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from condgen_chat.model import VOCABULARY_FILE, ChatConfig, ChatModel, turns_of
from condgen_chat.objective import CrossEntropy, Replies, TrainingBatch
from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.model import Item
from condgen_cli.nn import CandidateSampler
from condgen_cli.pipeline import batched
from condgen_cli.runner import initial_files
from condgen_cli.training import Recipe, check
from condgen_cli.training.sequences import batches_of_like_length, export, load_initial, teacher_forcing
from condgen_cli.training.splits import read_split

__all__ = ["ChatExperiment"]

GROUPS, FULL = 4, 32
"""Groups of like length that a batch's replies are written in; and replies that are enough for a group."""


class DataOptions(BaseModel):
    """``[data]`` beside the data set's name.

    Args:
        more: further data sets that are read with it.
        options: of all of them.
        dialogues: train on so many only, of each; 0 for all.
        vocabulary_size: in subwords.
        window: turns of a stretch of a dialogue.
        overlap: turns that a stretch begins with as context only, since the one before has written them.
        max_length: tokens of a reply in training; of a longer one the first are learnt.
        dev_dialogues: how many of each dev split an evaluation reads; 0 for all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    more: list[str] = []
    options: dict[str, str] = {}
    dialogues: int = Field(0, ge=0)
    vocabulary_size: int = Field(6000, ge=8)
    window: int = Field(12, ge=2)
    overlap: int = Field(3, ge=1)
    max_length: int = Field(60, ge=1)
    dev_dialogues: int = Field(0, ge=0)


class ObjectiveOptions(BaseModel):
    """``[objective]``: see ``CrossEntropy``.

    Args:
        candidates: tokens drawn beside a step's targets, which together stand for the vocabulary; 0: all of it counts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    context_dropout: float = Field(0.1, ge=0, lt=1)
    candidates: int = Field(0, ge=0)


class Stretch(NamedTuple):
    """Part of a dialogue.

    Args:
        turns: their ids.
        first: the first turn that is to be written.
    """

    turns: Sequence[Sequence[int]]
    first: int


class ChatExperiment:
    """Implements ``condgen_cli.training.Experiment``.

    Args:
        recipe: ``[model]`` are fields of ``ChatConfig``; ``init`` names a model to go on from.
        data_dir: where the data sets lie.
        run_dir: unused.
    """

    def __init__(self, recipe: Recipe, data_dir: Path | None, run_dir: Path) -> None:
        self.recipe = recipe
        config = check(ChatConfig, recipe.model.options, "model")
        self.data = check(DataOptions, recipe.data.model_dump(), "data")
        options = check(ObjectiveOptions, recipe.objective, "objective")
        recipe.make_decoding()
        names = [self.data.dataset, *self.data.more]
        train = [turns for name in names for turns in self._dialogues(name, "train", data_dir, self.data.dialogues)]
        dev = {name: self._dialogues(name, "dev", data_dir, self.data.dev_dialogues) for name in names}
        files = {} if recipe.init is None else initial_files(recipe.init)
        if VOCABULARY_FILE in files:
            vocabulary = SubwordVocabulary.load(files[VOCABULARY_FILE])
        else:
            vocabulary = SubwordVocabulary.train((turn for turns in train for turn in turns), self.data.vocabulary_size)
        self.model = ChatModel(config, vocabulary)
        load_initial(self.model, str(recipe.init), files, apart="decoder.cache.")
        self.stretches = [stretch for turns in train for stretch in self._stretches(turns)]
        self.sizes = np.array([sum(map(len, stretch.turns)) for stretch in self.stretches])
        self.dev = {name: [stretch for turns in found for stretch in self._stretches(turns)] for name, found in dev.items()}
        sampler = CandidateSampler(self._counts(), options.candidates) if options.candidates else None
        self.objective: nn.Module = CrossEntropy(self.model, options.label_smoothing, options.context_dropout, sampler)

    @property
    def dev_metrics(self) -> tuple[str, ...]:
        """What ``evaluate`` gives."""
        each = [f"perplexity_{name}" for name in self.dev] if len(self.dev) > 1 else []
        return ("perplexity", *each)

    @property
    def material(self) -> str:
        """What is trained on, counted."""
        return f"{len(self.stretches):,} dialogues or stretches of one"

    def batches(self, epoch: int) -> _Epoch:
        """Dialogues of like size, in an order of the seed and the epoch."""
        rng = np.random.default_rng([self.recipe.seed, epoch])
        order = batches_of_like_length(self.sizes, self.recipe.training.batch_size, rng)
        return _Epoch(self, [[self.stretches[index] for index in indices] for indices in order])

    def evaluate(self) -> dict[str, float]:
        """Perplexity of the dev split's replies, of all data sets and of each."""
        sums = {name: self._likelihood(stretches) for name, stretches in self.dev.items()}
        total = [sum(parts) for parts in zip(*sums.values(), strict=True)]
        scores = {"perplexity": _perplexity(*total)}
        if len(sums) > 1:
            scores |= {f"perplexity_{name}": _perplexity(*parts) for name, parts in sums.items()}
        return scores

    def export(self, directory: Path) -> None:
        """The model as ``load`` reads it."""
        export(directory, self.recipe, self.model, self.model.config, {VOCABULARY_FILE: self.model.vocabulary})

    def batch(self, stretches: Sequence[Stretch]) -> TrainingBatch:
        """Stretches of dialogues as tensors; replies in groups of like length."""
        limit, vocabulary = self.model.config.max_tokens, self.model.vocabulary
        read = [[turn[-limit:] for turn in stretch.turns[:-1]] for stretch in stretches]
        places = [range(stretch.first, len(stretch.turns)) for stretch in stretches]
        replies = [
            stretch.turns[place][: self.data.max_length]
            for stretch, written in zip(stretches, places, strict=True)
            for place in written
        ]
        order = np.argsort([len(reply) for reply in replies], kind="stable")
        groups = []
        for rows in np.array_split(order, min(GROUPS, -(-len(order) // FULL))):
            forcing = teacher_forcing([replies[row] for row in rows], vocabulary.bos, vocabulary.eos, vocabulary.pad)
            groups.append(Replies(torch.from_numpy(rows), *forcing))
        return TrainingBatch(self.model.batch(read, places), tuple(groups))

    def _dialogues(self, name: str, split: str, data_dir: Path | None, most: int) -> list[tuple[str, ...]]:
        """Whole dialogues: a data set's items with one reply each, which is the last turn."""
        items = read_split(name, split, data_dir, {**self.data.options, "replies": "1"}, most)
        return [_whole(item) for item in items]

    def _stretches(self, turns: Sequence[str]) -> Iterator[Stretch]:
        """Parts of a dialogue that write each of its turns but the first once."""
        ids = [self.model.vocabulary.encode(turn) for turn in turns]
        window, overlap = self.data.window, min(self.data.overlap, self.data.window - 1)
        ends = [*range(window, len(ids), window - overlap), len(ids)]
        for before, end in pairwise([1, *ends]):
            first = max(0, before - overlap)
            yield Stretch(ids[first:end], before - first)

    def _counts(self) -> Tensor:
        """How often each token is written in an epoch."""
        replies = [turn[: self.data.max_length] for stretch in self.stretches for turn in stretch.turns[stretch.first :]]
        counts = np.bincount(
            np.concatenate([np.array(turn, np.int64) for turn in replies]), minlength=len(self.model.vocabulary)
        )
        counts[self.model.vocabulary.eos] += len(replies)
        return torch.from_numpy(counts)

    @torch.inference_mode()
    def _likelihood(self, stretches: Sequence[Stretch]) -> tuple[float, float]:
        """Negative log-likelihood in nats, and tokens."""
        nats = tokens = 0.0
        device = self.model.decoder.bias.device
        for part in batched(sorted(stretches, key=lambda stretch: sum(map(len, stretch.turns))), 32):
            loss, stats = self.objective(self.batch(part).to(device))
            nats += float(loss) * stats["tokens"]
            tokens += stats["tokens"]
        return nats, tokens


class _Epoch:
    """The batches of one epoch, made as they are asked for."""

    def __init__(self, experiment: ChatExperiment, order: Sequence[Sequence[Stretch]]) -> None:
        self.experiment = experiment
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[TrainingBatch]:
        return map(self.experiment.batch, self.order)


def _perplexity(nats: float, tokens: float) -> float:
    """Infinite where a model is too bad for a number."""
    try:
        return math.exp(nats / tokens)
    except OverflowError:
        return math.inf


def _whole(item: Item) -> tuple[str, ...]:
    return (*turns_of(item.condition), *item.references)
