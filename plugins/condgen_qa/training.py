"""Training the memory networks: all questions are tensors before the first step, several networks learn side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from condgen_cli.errors import UsageError
from condgen_cli.model import Item
from condgen_cli.runner import initial_files
from condgen_cli.training import Recipe, check
from condgen_cli.training.sequences import WEIGHTS_FILE, full_batches, load_initial, write_description
from condgen_cli.training.splits import read_split
from condgen_cli.weights import save_weights
from condgen_qa.model import VOCABULARY_FILE, QaConfig, QaModel, Stories, padded
from condgen_qa.objective import Objective, TrainingBatch
from condgen_qa.text import tokens
from condgen_qa.vocabulary import StoryVocabulary

__all__ = ["QaExperiment", "QuestionSet"]

EVALUATED = 500
"""Questions of the dev split that are answered at once."""


class DataOptions(BaseModel):
    """``[data]`` beside the data set's name.

    Args:
        options: the data set's own, such as ``task`` and ``size``.
        time_noise: share of empty memories put among the sentences in training (Sukhbaatar et al. 2015, section 4.1).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    options: dict[str, str] = {}
    time_noise: float = Field(0.1, ge=0)


class ObjectiveOptions(BaseModel):
    """``[objective]``: see ``Objective``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    linear_start: float = Field(0.0, ge=0, le=1)
    clip: float = Field(0.0, ge=0)


class QuestionSet:
    """The questions of a split as tensors, made once.

    Args:
        items: the questions, with one reference each.
        model: whose vocabulary they are read with; questions whose answer it doesn't have get -1.
    """

    def __init__(self, items: Sequence[Item], model: QaModel) -> None:
        size = model.config.memory_size
        table: dict[str, int] = {}
        number = table.setdefault
        rows = [[number(sentence, len(table)) for sentence in reversed(item.condition.story[-size:])] for item in items]
        self.questions = np.array([number(item.condition.text, len(table)) for item in items])
        self.words, _ = padded([model.ids(text) for text in table], -1)
        self.stories, self.lengths = padded(rows, 0)
        places = {answer: place for place, answer in enumerate(model.vocabulary.answers)}
        self.answers = np.array([places.get(item.references[0], -1) for item in items])
        groups = sorted({item.group for item in items})
        self.groups = np.array([groups.index(item.group) for item in items])

    def __len__(self) -> int:
        return len(self.questions)

    def batch(self, rows: NDArray[np.int64], noise: float = 0.0, rng: np.random.Generator | None = None) -> TrainingBatch:
        """Some of the questions. With ``noise``, an empty memory stands before a sentence with that probability."""
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
    """Of each restart on the dev split: mean cross-entropy, share of wrong answers, and that share in each group."""

    loss: Tensor
    error: Tensor
    by_group: Tensor


class QaExperiment:
    """Implements ``condgen_cli.training.Experiment``.

    The best of the restarts, by its loss on the training questions of about an epoch, is what is evaluated and exported.

    Args:
        recipe: ``[model]`` are fields of ``QaConfig``; ``init`` names a model to go on from.
        data_dir: where the data set lies.
        run_dir: unused.
    """

    def __init__(self, recipe: Recipe, data_dir: Path | None, run_dir: Path) -> None:
        self.recipe = recipe
        config = check(QaConfig, recipe.model.options, "model")
        self.data = check(DataOptions, recipe.data.model_dump(), "data")
        options = check(ObjectiveOptions, recipe.objective, "objective")
        train, dev = (read_split(self.data.dataset, split, data_dir, self.data.options) for split in ("train", "dev"))
        files = {} if recipe.init is None else initial_files(recipe.init)
        self.model = QaModel(config, _vocabulary(train, files))
        load_initial(self.model, str(recipe.init), files)
        self.train, self.dev = QuestionSet(train, self.model), QuestionSet(dev, self.model)
        if (self.train.answers < 0).any():
            answer = train[int(np.argmin(self.train.answers))].references[0]
            reason = f"recipe: init: {recipe.init} doesn't know the answer {answer!r}, so it can't learn to give it"
            raise UsageError(reason, "init= begins anew, with the words of these data")
        self.steps = max(1, len(self.train) // recipe.training.batch_size)
        self._objective = Objective(self.model, options.linear_start, 1 / self.steps, options.clip)

    @property
    def objective(self) -> nn.Module:
        return self._objective

    @property
    def dev_metrics(self) -> tuple[str, ...]:
        """What ``evaluate`` gives."""
        return "error", "loss", "train_loss", "failed"

    @property
    def material(self) -> str:
        """What is trained on, counted."""
        return f"{len(self.train):,} questions"

    def batches(self, epoch: int) -> _Epoch:
        """The questions in an order of the seed and the epoch."""
        return _Epoch(self, epoch)

    def evaluate(self) -> dict[str, float]:
        """Loss, error in percent and groups with an error above 5 percent, of the best restart on the dev split.

        With softmax, as an exported model has it, in the linear start too.
        """
        objective = self._objective
        scores, best = self._scores(), objective.best
        return {
            "error": 100 * float(scores.error[best]),
            "loss": float(scores.loss[best]),
            "train_loss": float(objective.training_loss[best]),
            "failed": float((scores.by_group[best] > 0.05).sum()),
        }

    def export(self, directory: Path) -> None:
        """The best restart, as ``load`` reads it."""
        best = self._objective.best
        state = self.model.state_dict()
        save_weights(
            {name: tensor[best : best + 1].cpu().contiguous() for name, tensor in state.items()}, directory / WEIGHTS_FILE
        )
        self.model.vocabulary.save(directory / VOCABULARY_FILE)
        config = self.model.config.model_copy(update={"restarts": 1})
        write_description(directory, self.recipe, config.model_dump(), [WEIGHTS_FILE, VOCABULARY_FILE])

    def _scores(self) -> Scores:
        device = self.model.ramp.device
        losses, wrong = [], []
        for rows in np.array_split(np.arange(len(self.dev)), -(-len(self.dev) // EVALUATED)):
            batch = self.dev.batch(rows)
            read = self.model(Stories(*(tensor.to(device) for tensor in batch.stories)))
            log_probs, answers = read.logits.log_softmax(-1), batch.answers.to(device)
            known = log_probs.gather(2, answers.clamp(min=0).expand(len(log_probs), -1)[..., None]).squeeze(2)
            # an answer that was never seen in training can't be given: its loss is that of a guess
            losses.append(-torch.where(answers >= 0, known, -np.log(log_probs.shape[-1])))
            wrong.append(log_probs.argmax(-1) != answers)
        errors = torch.cat(wrong, 1).float()
        groups = torch.from_numpy(self.dev.groups).to(device)
        sums = errors.new_zeros(len(errors), int(groups.max()) + 1).index_add_(1, groups, errors)
        return Scores(torch.cat(losses, 1).mean(1), errors.mean(1), sums / groups.bincount())


class _Epoch:
    """The batches of one epoch, made as they are asked for; a last one that isn't full is left out."""

    def __init__(self, experiment: QaExperiment, epoch: int) -> None:
        self.experiment = experiment
        self.epoch = epoch

    def __len__(self) -> int:
        return self.experiment.steps

    def __iter__(self) -> Iterator[TrainingBatch]:
        own = self.experiment
        rng = np.random.default_rng([own.recipe.seed, self.epoch])
        for rows in full_batches(rng.permutation(len(own.train)), own.recipe.training.batch_size):
            yield own.train.batch(rows, own.data.time_noise, rng)


def _vocabulary(train: Sequence[Item], files: Mapping[str, Path]) -> StoryVocabulary:
    """That of the model to go on from, else the words and answers of the training questions."""
    if VOCABULARY_FILE in files:
        return StoryVocabulary.load(files[VOCABULARY_FILE])
    texts = {text for item in train for text in (*item.condition.story, item.condition.text)}
    return StoryVocabulary.build(chain.from_iterable(map(tokens, texts)), (item.references[0] for item in train))
