"""Training of the memory networks: several networks side by side, on questions made tensors in advance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from condgen_cli import training
from condgen_cli.errors import UsageError
from condgen_cli.model import Item
from condgen_cli.training import Experiment, Options, check
from condgen_cli.training.batches import full_batches
from condgen_cli.training.export import SavedVocabulary
from condgen_qa.config import QaConfig
from condgen_qa.model import VOCABULARY_FILE, QaModel
from condgen_qa.objective import Objective, TrainingBatch
from condgen_qa.stories import Stories, pad_rows
from condgen_qa.text import tokens
from condgen_qa.vocabulary import StoryVocabulary

__all__ = ["QaExperiment", "QuestionSet"]

EVALUATED = 500
"""Batch size on the dev split, in questions."""


class DataOptions(training.DataOptions):
    """``[data]``.

    Args:
        time_noise: share of empty memories inserted among the sentences in training (Sukhbaatar et al. 2015, section 4.1).
    """

    time_noise: float = Field(0.1, ge=0)


class ObjectiveOptions(Options):
    """``[objective]``: see ``Objective``."""

    linear_start: float = Field(0.0, ge=0, le=1)
    clip: float = Field(0.0, ge=0)


class QuestionSet:
    """The questions of a split as arrays, made once.

    Args:
        items: the questions, with one reference each.
        model: model whose vocabulary is used; an answer that it lacks is -1.
    """

    def __init__(self, items: Sequence[Item], model: QaModel) -> None:
        size = model.config.memory_size
        table: dict[str, int] = {}
        number = table.setdefault
        rows = [[number(sentence, len(table)) for sentence in reversed(item.condition.story[-size:])] for item in items]
        self.questions = np.array([number(item.condition.text, len(table)) for item in items])
        self.words, _ = pad_rows([model.ids(text) for text in table], -1)
        self.stories, self.lengths = pad_rows(rows, 0)
        places = {answer: place for place, answer in enumerate(model.vocabulary.answers)}
        self.answers = np.array([places.get(item.references[0], -1) for item in items])
        groups = sorted({item.group for item in items})
        self.groups = np.array([groups.index(item.group) for item in items])

    def __len__(self) -> int:
        return len(self.questions)

    def batch(self, rows: NDArray[np.int64], noise: float = 0.0, rng: np.random.Generator | None = None) -> TrainingBatch:
        """A batch of questions; ``noise`` is the probability of an empty memory before a sentence."""
        lengths = self.lengths[rows]
        stories = self.stories[rows, : lengths.max()]
        texts, places = np.unique(np.concatenate([stories.ravel(), self.questions[rows]]), return_inverse=True)
        words = self.words[texts]
        times = np.broadcast_to(np.arange(stories.shape[1]), stories.shape)
        if rng is not None and noise:
            times = np.minimum(times + (rng.random(stories.shape) < noise).cumsum(1), self.stories.shape[1] - 1)
        parts = words[:, : max(1, (words >= 0).sum(1).max())], places[: stories.size].reshape(stories.shape), times, lengths
        tensors = [torch.tensor(part) for part in (*parts, places[stories.size :])]
        return TrainingBatch(Stories(*tensors), torch.from_numpy(self.answers[rows]))


class Scores(NamedTuple):
    """Dev scores of each restart: mean cross-entropy, share of wrong answers, and that share by group."""

    loss: Tensor
    error: Tensor
    by_group: Tensor


class QaExperiment(Experiment):
    """Trains several memory networks at once, from different random weights.

    The restart with the smallest training loss over about an epoch is evaluated and exported.
    """

    data_options = DataOptions
    objective_options = ObjectiveOptions
    unit = "questions"

    data: DataOptions
    options: ObjectiveOptions
    model: QaModel
    objective: Objective

    def prepare(self) -> None:
        config = check(QaConfig, self.recipe.model.options, "model")
        train, dev = self.read("train"), self.read("dev")
        vocabulary = self.initial.vocabulary(VOCABULARY_FILE, StoryVocabulary.load, lambda: _build_vocabulary(train))
        self.model = QaModel(config, vocabulary)
        self.initial.load_into(self.model)
        self.train, self.dev_questions = QuestionSet(train, self.model), QuestionSet(dev, self.model)
        if (self.train.answers < 0).any():
            answer = train[int(np.argmin(self.train.answers))].references[0]
            reason = f"recipe: init: {self.initial.name} doesn't know the answer {answer!r}, so it can't learn it"
            raise UsageError(reason, "init= starts anew, with the words of these data")
        steps = max(1, len(self.train) // self.recipe.training.batch_size)
        self.objective = Objective(self.model, self.options.linear_start, 1 / steps, self.options.clip)

    dev_metrics = ("error", "loss", "train_loss", "failed")

    @property
    def material(self) -> str:
        return f"{len(self.train):,} {self.unit}"

    def plan(self, epoch: int, rng: np.random.Generator) -> Sequence[NDArray[np.int64]]:
        """Questions in random order; an incomplete last batch is left out."""
        return list(full_batches(rng.permutation(len(self.train)), self.recipe.training.batch_size))

    def batch(self, part: NDArray[np.int64], rng: np.random.Generator) -> TrainingBatch:
        """Questions with their stories, with empty memories among the sentences."""
        return self.train.batch(part, self.data.time_noise, rng)

    def evaluate(self) -> dict[str, float]:
        """Dev loss, error in percent and number of groups with an error above 5 percent, of the best restart.

        Attention has its softmax, as in an exported model, even during the linear start.
        """
        scores, best = self._scores(), self.objective.best
        return {
            "error": 100 * float(scores.error[best]),
            "loss": float(scores.loss[best]),
            "train_loss": float(self.objective.training_loss[best]),
            "failed": float((scores.by_group[best] > 0.05).sum()),
        }

    def config(self) -> Mapping[str, Any]:
        return self.model.config.model_copy(update={"restarts": 1}).model_dump()

    def weights(self) -> Mapping[str, Tensor]:
        """Weights of the best restart."""
        best = self.objective.best
        return {name: tensor[best : best + 1] for name, tensor in self.model.state_dict().items()}

    def vocabularies(self) -> Mapping[str, SavedVocabulary]:
        return {VOCABULARY_FILE: self.model.vocabulary}

    def _scores(self) -> Scores:
        device = self.model.ramp.device
        losses, wrong = [], []
        for rows in np.array_split(np.arange(len(self.dev_questions)), -(-len(self.dev_questions) // EVALUATED)):
            batch = self.dev_questions.batch(rows)
            read = self.model(Stories(*(tensor.to(device) for tensor in batch.stories)))
            log_probs, answers = read.logits.log_softmax(-1), batch.answers.to(device)
            known = log_probs.gather(2, answers.clamp(min=0).expand(len(log_probs), -1)[..., None]).squeeze(2)
            # an answer never seen in training can't be given: its loss is that of a uniform guess
            losses.append(-torch.where(answers >= 0, known, -np.log(log_probs.shape[-1])))
            wrong.append(log_probs.argmax(-1) != answers)
        errors = torch.cat(wrong, 1).float()
        groups = torch.from_numpy(self.dev_questions.groups).to(device)
        sums = errors.new_zeros(len(errors), int(groups.max()) + 1).index_add_(1, groups, errors)
        return Scores(torch.cat(losses, 1).mean(1), errors.mean(1), sums / groups.bincount())


def _build_vocabulary(train: Sequence[Item]) -> StoryVocabulary:
    """The words and answers of the training questions."""
    texts = {text for item in train for text in (*item.condition.story, item.condition.text)}
    return StoryVocabulary.build(chain.from_iterable(map(tokens, texts)), (item.references[0] for item in train))
