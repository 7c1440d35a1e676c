"""Training of the dialogue models.

A batch holds whole dialogues or long stretches of them, so that each turn is read once for all the replies after it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from condgen_chat.config import ChatConfig
from condgen_chat.dialogues import turns_of
from condgen_chat.model import VOCABULARY_FILE, ChatModel
from condgen_chat.objective import CrossEntropy, Replies, TrainingBatch
from condgen_cli import training
from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.nn import CandidateSampler
from condgen_cli.running.pipeline import batched
from condgen_cli.training import Experiment, Options, check
from condgen_cli.training.batches import batches_of_like_length, teacher_forcing
from condgen_cli.training.export import SavedVocabulary
from condgen_cli.training.splits import read_split

__all__ = ["ChatExperiment"]

GROUPS, FULL = 4, 32
"""Largest number of groups of similar length for a batch's replies, and the replies per group that are enough."""


class DataOptions(training.DataOptions):
    """``[data]``. ``options``, and ``limit`` and ``dev_limit`` in dialogues, apply to each data set.

    Args:
        more: further data sets to train on.
        vocabulary_size: number of subwords.
        window: turns of a stretch of a dialogue.
        overlap: turns at the beginning of a stretch that are only context, being replies of the stretch before.
        max_length: tokens of a reply in training, its first ones.
    """

    more: list[str] = Field([])
    vocabulary_size: int = Field(6000, ge=8)
    window: int = Field(12, ge=2)
    overlap: int = Field(3, ge=1)
    max_length: int = Field(60, ge=1)


class ObjectiveOptions(Options):
    """``[objective]``: see ``CrossEntropy``.

    Args:
        candidates: tokens drawn for the sampled softmax beside a batch's targets; 0: full softmax.
    """

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    context_dropout: float = Field(0.1, ge=0, lt=1)
    candidates: int = Field(0, ge=0)


class Stretch(NamedTuple):
    """Part of a dialogue.

    Args:
        turns: token ids of its turns.
        first: index of the first turn that is a reply.
    """

    turns: Sequence[Sequence[int]]
    first: int


class ChatExperiment(Experiment):
    """Trains dialogue models on stretches of dialogues of similar size; the dev metric is perplexity."""

    data_options = DataOptions
    objective_options = ObjectiveOptions
    unit = "dialogues or stretches of one"

    data: DataOptions
    options: ObjectiveOptions
    model: ChatModel

    def prepare(self) -> None:
        config = check(ChatConfig, self.recipe.model.options, "model")
        names = [self.data.dataset, *self.data.more]
        train = [turns for name in names for turns in self._dialogues(name, "train", self.data.limit)]
        dev = {name: self._dialogues(name, "dev", self.data.dev_limit) for name in names}
        vocabulary = self.initial.vocabulary(
            VOCABULARY_FILE,
            SubwordVocabulary.load,
            lambda: SubwordVocabulary.train((turn for turns in train for turn in turns), self.data.vocabulary_size),
        )
        self.model = ChatModel(config, vocabulary)
        self.initial.load_into(self.model, apart=("decoder.cache.",))
        self.stretches = [stretch for turns in train for stretch in self._stretches(turns)]
        self.sizes = np.array([sum(map(len, stretch.turns)) for stretch in self.stretches])
        self.dev_stretches = {
            name: [stretch for turns in found for stretch in self._stretches(turns)] for name, found in dev.items()
        }
        candidates = self.options.candidates
        sampler = CandidateSampler(self._counts(), candidates) if candidates else None
        self.objective = CrossEntropy(self.model, self.options.label_smoothing, self.options.context_dropout, sampler)

    def plan(self, epoch: int, rng: np.random.Generator) -> Sequence[Sequence[Stretch]]:
        """Batches of stretches of similar size."""
        order = batches_of_like_length(self.sizes, self.recipe.training.batch_size, rng)
        return [[self.stretches[index] for index in indices] for indices in order]

    def batch(self, part: Sequence[Stretch], rng: np.random.Generator | None = None) -> TrainingBatch:
        """A batch of stretches, with replies in groups of similar length."""
        limit, vocabulary = self.model.config.max_tokens, self.model.vocabulary
        read = [[turn[-limit:] for turn in stretch.turns[:-1]] for stretch in part]
        places = [range(stretch.first, len(stretch.turns)) for stretch in part]
        replies = [
            stretch.turns[place][: self.data.max_length]
            for stretch, written in zip(part, places, strict=True)
            for place in written
        ]
        order = np.argsort([len(reply) for reply in replies], kind="stable")
        groups = []
        for rows in np.array_split(order, min(GROUPS, -(-len(order) // FULL))):
            forcing = teacher_forcing([replies[row] for row in rows], vocabulary.bos, vocabulary.eos, vocabulary.pad)
            groups.append(Replies(torch.from_numpy(rows), *forcing))
        return TrainingBatch(self.model.batch(read, places), tuple(groups))

    @property
    def dev_metrics(self) -> tuple[str, ...]:
        """Perplexity, and that of each data set if there are several."""
        each = [f"perplexity_{name}" for name in self.dev_stretches] if len(self.dev_stretches) > 1 else []
        return ("perplexity", *each)

    def evaluate(self) -> dict[str, float]:
        """Perplexity of the dev split's replies, of all data sets and of each."""
        sums = {name: self._likelihood(stretches) for name, stretches in self.dev_stretches.items()}
        total = [sum(parts) for parts in zip(*sums.values(), strict=True)]
        scores = {"perplexity": _perplexity(*total)}
        if len(sums) > 1:
            scores |= {f"perplexity_{name}": _perplexity(*parts) for name, parts in sums.items()}
        return scores

    def vocabularies(self) -> Mapping[str, SavedVocabulary]:
        return {VOCABULARY_FILE: self.model.vocabulary}

    def _dialogues(self, name: str, split: str, limit: int) -> list[tuple[str, ...]]:
        """Whole dialogues: items with ``replies=1``, whose reference is the last turn."""
        items = read_split(name, split, self.data_dir, {**self.data.options, "replies": "1"}, limit)
        return [(*turns_of(item.condition), *item.references) for item in items]

    def _stretches(self, turns: Sequence[str]) -> Iterator[Stretch]:
        """Stretches of a dialogue, in which each turn but the first is a reply once."""
        ids = [self.model.vocabulary.encode(turn) for turn in turns]
        window, overlap = self.data.window, min(self.data.overlap, self.data.window - 1)
        ends = [*range(window, len(ids), window - overlap), len(ids)]
        for before, end in pairwise([1, *ends]):
            first = max(0, before - overlap)
            yield Stretch(ids[first:end], before - first)

    def _counts(self) -> Tensor:
        """Counts of each token in the replies of an epoch."""
        replies = [turn[: self.data.max_length] for stretch in self.stretches for turn in stretch.turns[stretch.first :]]
        counts = np.bincount(
            np.concatenate([np.array(turn, np.int64) for turn in replies]), minlength=len(self.model.vocabulary)
        )
        counts[self.model.vocabulary.eos] += len(replies)
        return torch.from_numpy(counts)

    @torch.inference_mode()
    def _likelihood(self, stretches: Sequence[Stretch]) -> tuple[float, float]:
        """Negative log-likelihood in nats, and the number of tokens."""
        nats = tokens = 0.0
        device = self.model.decoder.bias.device
        for part in batched(sorted(stretches, key=lambda stretch: sum(map(len, stretch.turns))), 32):
            loss, stats = self.objective(self.batch(part).to(device))
            nats += float(loss) * stats["tokens"]
            tokens += stats["tokens"]
        return nats, tokens


def _perplexity(nats: float, tokens: float) -> float:
    """exp(nats / tokens), infinite on overflow."""
    try:
        return math.exp(nats / tokens)
    except OverflowError:
        return math.inf
