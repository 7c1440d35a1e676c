"""Training of the text models: a stream by truncated back-propagation with its state carried on, poems in padded batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from condgen_cli.errors import UsageError
from condgen_cli.generation import Generation
from condgen_cli.item import Item
from condgen_cli.likelihood import reference_log_probs
from condgen_cli.metrics.likelihood import Likelihood
from condgen_cli.metrics.suite import Suite
from condgen_cli.nn.language_model import LanguageModelState
from condgen_cli.pipeline import batched
from condgen_cli.runner import initial_files
from condgen_cli.training import Recipe, check
from condgen_cli.training.sequences import batches_of_like_length, dev_scores, export, load_initial, teacher_forcing
from condgen_cli.training.splits import read_split
from condgen_generate.text_data import read_text
from condgen_generate.text_model import VOCABULARY_FILE, TextConfig, TextModel
from condgen_generate.verse import FORMS
from condgen_generate.vocabulary import CharacterVocabulary

__all__ = ["Objective", "StreamBatch", "TextExperiment", "VerseBatch"]

EVALUATED = 50
"""Dev items whose likelihood is computed at once."""


class DataOptions(BaseModel):
    """``[data]`` beside the data set's name.

    Args:
        options: the data set's own.
        steps: characters of a row of a batch of a stream, through which the gradient flows.
        least: characters that come less often in the training data are unknown.
        with_dev: whether the dev split is trained on as well, once it has served to choose everything; what is measured on it
            then says nothing about other texts.
        text: a file below the data folder that a stream has before the training split, so that words are known which the
            split is too short to have; one in capitals alone, as transcripts of speech are, is read in small letters.
        text_parts: the file is cut into so many parts, and an epoch has one of them, in turn.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    options: dict[str, str] = {}
    steps: int = Field(128, ge=1)
    least: int = Field(1, ge=1)
    with_dev: bool = False
    text: str = ""
    text_parts: int = Field(1, ge=1)


class StreamBatch(NamedTuple):
    """A piece of a stream for each row: inputs and, one character later, targets (rows, steps).

    ``first``: (), True where rows begin, so that no state is carried on from the batch before.
    """

    inputs: Tensor
    targets: Tensor
    first: Tensor


class VerseBatch(NamedTuple):
    """Poems: inputs (rows, steps), the form first, targets (rows, steps), the end last; real steps (rows,)."""

    inputs: Tensor
    targets: Tensor
    lengths: Tensor


class Objective(nn.Module):
    """Cross-entropy per token, in nats.

    Attributes:
        hidden, cell: (rows, layers, hidden_size) the state after the latest batch of a stream; buffers, so that a run that is
            resumed within an epoch goes on with it.
    """

    hidden: Tensor
    cell: Tensor

    def __init__(self, model: TextModel, rows: int) -> None:
        super().__init__()
        self.model = model
        if model.config.kind == "stream":
            hidden, cell = model.network.start(rows)
            self.register_buffer("hidden", hidden.detach().clone())
            self.register_buffer("cell", cell.detach().clone())

    def forward(self, batch: StreamBatch | VerseBatch) -> tuple[Tensor, dict[str, float]]:
        """The loss, and how many tokens it was taken over."""
        network = self.model.network
        targets = batch.targets.flatten()
        if isinstance(batch, StreamBatch):
            if batch.first:
                self.hidden.zero_()
                self.cell.zero_()
            # copies, since what the backward pass needs must not change
            features, state = network(batch.inputs, LanguageModelState(self.hidden.clone(), self.cell.clone()))
            self.hidden.copy_(state.hidden.detach())
            self.cell.copy_(state.cell.detach())
            features = features.flatten(0, 1)
        else:
            steps = torch.arange(batch.inputs.shape[1], device=batch.lengths.device)
            real = (steps < batch.lengths.unsqueeze(1)).flatten().nonzero().squeeze(1)
            features, targets = network(batch.inputs)[0].flatten(0, 1).index_select(0, real), targets.index_select(0, real)
        return network.cross_entropy(features, targets), {"tokens": float(len(targets))}


class TextExperiment:
    """Implements ``condgen_cli.training.Experiment``; the dev metrics are ``nats_per_char`` and ``bits_per_char``.

    Args:
        recipe: ``[model]`` are fields of ``TextConfig``; ``init`` names a model to go on from.
        data_dir: where the data set lies.
        run_dir: unused.
    Raises:
        UsageError: if there is too little text for a batch, or none to evaluate on.
        NotFoundError: if ``text`` isn't there.
        InputError: if it can't be read.
    """

    def __init__(self, recipe: Recipe, data_dir: Path | None, run_dir: Path) -> None:
        self.recipe = recipe
        config = check(TextConfig, recipe.model.options, "model")
        self.data = check(DataOptions, recipe.data.model_dump(), "data")
        train, self.dev = (read_split(self.data.dataset, split, data_dir, self.data.options) for split in ("train", "dev"))
        if self.data.with_dev:
            train += self.dev
        files = {} if recipe.init is None else initial_files(recipe.init)
        if VOCABULARY_FILE in files:
            vocabulary = CharacterVocabulary.load(files[VOCABULARY_FILE])
        else:
            texts = (item.references[0] for item in train)
            controls = [form.name for form in FORMS] if config.kind == "verse" else []
            vocabulary = CharacterVocabulary.build(texts, controls, self.data.least)
        self.model = TextModel(config, vocabulary)
        load_initial(self.model, str(recipe.init), files)
        self.rows, self.steps = recipe.training.batch_size, self.data.steps
        if config.kind == "stream":
            self.stream = np.array(vocabulary.encode("".join(item.references[0] for item in train)))
            text = read_text((data_dir or Path()) / self.data.text) if self.data.text else ""
            before = np.array(vocabulary.encode(text.lower() if text.isupper() else text), self.stream.dtype)
            self.before = np.array_split(before, self.data.text_parts)
            if len(self.stream) < 2:
                raise UsageError(f"{len(self.stream)} characters of {self.data.dataset} are too few to learn from")
            # a short text is one batch, of fewer rows and then of shorter ones
            self.steps = min(self.steps, len(self.stream) - 1)
            self.rows = min(self.rows, (len(self.stream) - 1) // self.steps)
        else:
            self._read_poems(train)
        self.objective: nn.Module = Objective(self.model, self.rows)
        self.metrics = Suite([Likelihood()], ["nats_per_char", "bits_per_char", "perplexity"])

    @property
    def dev_metrics(self) -> tuple[str, ...]:
        """What ``evaluate`` gives."""
        return self.metrics.keys

    @property
    def material(self) -> str:
        """What is trained on, counted."""
        if self.model.config.kind == "verse":
            return f"{len(self.sequences):,} poems"
        return f"{len(self.stream):,} characters, {self.steps} in a row"

    def batches(self, epoch: int) -> _StreamEpoch | _VerseEpoch:
        """The stream cut into rows, from another character on in each epoch; or poems of like length."""
        rng = np.random.default_rng([self.recipe.seed, epoch])
        rows, steps = self.rows, self.steps
        if self.model.config.kind == "verse":
            return _VerseEpoch(self, batches_of_like_length(self.sizes, rows, rng, parts=4))
        stream = np.concatenate([self.before[epoch % len(self.before)], self.stream])
        pieces = (len(stream) - 1) // (rows * steps)
        spare = len(stream) - 1 - pieces * rows * steps
        return _StreamEpoch(stream[rng.integers(spare + 1) :], rows, steps, pieces)

    def evaluate(self) -> dict[str, float]:
        """How well the dev split is foretold."""
        generations: list[Generation] = []
        for items in batched(self.dev, EVALUATED):
            memory = self.model.encode(self.model.collate(items))
            likelihoods = reference_log_probs(self.model, memory, [item.references for item in items])
            generations += [Generation("", reference_log_probs=one) for one in likelihoods]
        return dev_scores(self.metrics, self.dev, generations)

    def export(self, directory: Path) -> None:
        """Weights and vocabulary."""
        export(directory, self.recipe, self.model, self.model.config, {VOCABULARY_FILE: self.model.vocabulary})

    def poems(self, indices: Sequence[int]) -> VerseBatch:
        vocabulary = self.model.vocabulary
        sequences = [self.sequences[index] for index in indices]
        batch = VerseBatch(*teacher_forcing(sequences, vocabulary.bos, vocabulary.eos, vocabulary.pad))
        batch.inputs[:, 0] = torch.tensor([self.forms[index] for index in indices])
        return batch

    def _read_poems(self, items: Sequence[Item]) -> None:
        vocabulary = self.model.vocabulary
        for item in items:
            if getattr(item.condition, "form", None) is None:
                raise UsageError(f"{self.data.dataset} has no poems in a form", "model.kind=stream learns any text")
        self.sequences = [vocabulary.encode(item.references[0]) for item in items]
        self.forms = [vocabulary.control(item.condition.form.name) for item in items]
        self.sizes: NDArray[np.int64] = np.array([len(sequence) for sequence in self.sequences])


class _StreamEpoch:
    """Rows of a stream side by side, piece after piece."""

    def __init__(self, stream: NDArray[Any], rows: int, steps: int, pieces: int) -> None:
        self.steps = steps
        self.pieces = pieces
        count = rows * steps * pieces
        self.inputs = torch.from_numpy(stream[:count].reshape(rows, -1))
        self.targets = torch.from_numpy(stream[1 : count + 1].reshape(rows, -1))

    def __len__(self) -> int:
        return self.pieces

    def __iter__(self) -> Iterator[StreamBatch]:
        for piece in range(self.pieces):
            part = slice(piece * self.steps, (piece + 1) * self.steps)
            yield StreamBatch(self.inputs[:, part], self.targets[:, part], torch.tensor(piece == 0))


class _VerseEpoch:
    """The batches of one epoch, made as they are asked for."""

    def __init__(self, experiment: TextExperiment, order: NDArray[np.int64]) -> None:
        self.experiment = experiment
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[VerseBatch]:
        for indices in self.order:
            yield self.experiment.poems(indices.tolist())
