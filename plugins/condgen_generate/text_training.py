"""Training of the text models: a stream by truncated back-propagation with its state carried on, poems in padded batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from condgen_cli import training
from condgen_cli.data.packed import read_text
from condgen_cli.errors import UsageError
from condgen_cli.item import Item
from condgen_cli.nn.language_model import LanguageModelState
from condgen_cli.training import Experiment, check
from condgen_cli.training.batches import batches_of_like_length, teacher_forcing
from condgen_cli.training.export import SavedVocabulary
from condgen_generate.prompt import Prompt
from condgen_generate.text_model import VOCABULARY_FILE, TextConfig, TextModel
from condgen_generate.verse import FORMS
from condgen_generate.vocabulary import CharacterVocabulary

__all__ = ["Objective", "StreamBatch", "TextExperiment", "VerseBatch"]


class DataOptions(training.DataOptions):
    """``[data]``.

    Args:
        steps: characters of a row of a batch of a stream, through which the gradient flows.
        min_count: characters that come less often in the training data are unknown.
        with_dev: whether the dev split is trained on as well, once it has served to choose everything; what is measured on it
            then says nothing about other texts.
        text: a file below the data folder that a stream has before the training split, so that words are known which the
            split is too short to have; one in capitals alone, as transcripts of speech are, is read in small letters.
        text_parts: the number of parts that the file is cut into; an epoch has one of them, in turn.
    """

    steps: int = Field(128, ge=1)
    min_count: int = Field(1, ge=1)
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


class Objective(training.Objective):
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


class TextExperiment(Experiment):
    """How text models are trained: on one stream of characters, or on poems.

    Raises:
        UsageError: if there is too little text for a batch, or none to evaluate on.
        NotFoundError: if ``text`` isn't there.
        InputError: if it can't be read.
    """

    data_options = DataOptions
    metric_keys = ("nats_per_char", "bits_per_char", "perplexity")
    dev_batch_size = 50

    data: DataOptions
    model: TextModel

    def prepare(self) -> None:
        config = check(TextConfig, self.recipe.model.options, "model")
        train, self.dev = self.read("train"), self.read("dev")
        if self.data.with_dev:
            train += self.dev
        controls = [form.name for form in FORMS] if config.kind == "verse" else []
        vocabulary = self.initial.vocabulary(
            VOCABULARY_FILE,
            CharacterVocabulary.load,
            lambda: CharacterVocabulary.build((item.references[0] for item in train), controls, self.data.min_count),
        )
        self.model = TextModel(config, vocabulary)
        self.initial.load_into(self.model)
        self.rows, self.steps = self.recipe.training.batch_size, self.data.steps
        if config.kind == "stream":
            self._read_stream(train)
        else:
            self._read_poems(train)
        self.objective = Objective(self.model, self.rows)

    @property
    def material(self) -> str:
        if self.model.config.kind == "verse":
            return f"{len(self.sequences):,} poems"
        return f"{len(self.stream):,} characters, {self.steps} in a row"

    def plan(self, epoch: int, rng: np.random.Generator) -> Sequence[Any]:
        """Indices of poems of like length; or the stream cut into rows, from another character on in each epoch, and steps."""
        rows, steps = self.rows, self.steps
        if self.model.config.kind == "verse":
            return list(batches_of_like_length(self.sizes, rows, rng, parts=4))
        stream = np.concatenate([self.before[epoch % len(self.before)], self.stream])
        pieces = (len(stream) - 1) // (rows * steps)
        size = rows * steps * pieces
        start = rng.integers(len(stream) - size)
        inputs = torch.split(torch.from_numpy(stream[start : start + size].reshape(rows, -1)), steps, 1)
        targets = torch.split(torch.from_numpy(stream[start + 1 : start + size + 1].reshape(rows, -1)), steps, 1)
        return [StreamBatch(*pair, torch.tensor(not index)) for index, pair in enumerate(zip(inputs, targets, strict=True))]

    def batch(self, part: Any, rng: np.random.Generator) -> StreamBatch | VerseBatch:
        """A piece of the stream as it was planned, or poems."""
        return part if isinstance(part, StreamBatch) else self.poems(part.tolist())

    def vocabularies(self) -> Mapping[str, SavedVocabulary]:
        return {VOCABULARY_FILE: self.model.vocabulary}

    def poems(self, indices: Sequence[int]) -> VerseBatch:
        vocabulary = self.model.vocabulary
        sequences = [self.sequences[index] for index in indices]
        batch = VerseBatch(*teacher_forcing(sequences, vocabulary.bos, vocabulary.eos, vocabulary.pad))
        batch.inputs[:, 0] = torch.tensor([self.forms[index] for index in indices])
        return batch

    def _read_stream(self, items: Sequence[Item]) -> None:
        encode = self.model.vocabulary.encode
        self.stream = np.array(encode("".join(item.references[0] for item in items)))
        text = read_text((self.data_dir or Path()) / self.data.text) if self.data.text else ""
        before = np.array(encode(text.lower() if text.isupper() else text), self.stream.dtype)
        self.before = np.array_split(before, self.data.text_parts)
        if len(self.stream) < 2:
            raise UsageError(f"{len(self.stream)} characters of {self.data.dataset} are too few to learn from")
        # a short text is one batch, of fewer rows and then of shorter ones
        self.steps = min(self.steps, len(self.stream) - 1)
        self.rows = min(self.rows, (len(self.stream) - 1) // self.steps)

    def _read_poems(self, items: Sequence[Item]) -> None:
        vocabulary = self.model.vocabulary
        for item in items:
            if not isinstance(item.condition, Prompt) or item.condition.form is None:
                raise UsageError(f"{self.data.dataset} has no poems in a form", "model.kind=stream learns any text")
        self.sequences = [vocabulary.encode(item.references[0]) for item in items]
        self.forms = [vocabulary.control(item.condition.form.name) for item in items]
        self.sizes = np.array([len(sequence) for sequence in self.sequences])
