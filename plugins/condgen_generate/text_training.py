"""Training of the text models: a stream by truncated back-propagation with carried state, poems in padded batches."""

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
        steps: characters per row of a stream's batch, over which gradients are propagated.
        min_count: minimum count of a character in the training data; rarer ones are unknown.
        with_dev: whether to train on the dev split too, after all choices were made with it; dev scores then aren't meaningful.
        text: file below the data folder that precedes the training split in the stream, for words that the split is too short
            to have; a text all in capitals, like transcripts of speech, is lower-cased.
        text_parts: number of parts of that file; each epoch reads the next one.
    """

    steps: int = Field(128, ge=1)
    min_count: int = Field(1, ge=1)
    with_dev: bool = False
    text: str = ""
    text_parts: int = Field(1, ge=1)


class StreamBatch(NamedTuple):
    """A piece of a stream for each row.

    Args:
        inputs: (rows, steps) tokens.
        targets: (rows, steps) tokens, one character later.
        first: () whether rows begin here, so that the state of the batch before isn't carried over.
    """

    inputs: Tensor
    targets: Tensor
    first: Tensor


class VerseBatch(NamedTuple):
    """Poems: inputs (rows, steps), the form first; targets (rows, steps), the end last; steps without padding (rows,)."""

    inputs: Tensor
    targets: Tensor
    lengths: Tensor


class Objective(training.Objective):
    """Cross-entropy per token, in nats.

    Attributes:
        hidden, cell: (rows, layers, hidden_size) state after the latest batch of a stream; buffers, so that a run resumed
            within an epoch continues with it.
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
        """The loss, and the number of tokens."""
        network = self.model.network
        targets = batch.targets.flatten()
        if isinstance(batch, StreamBatch):
            if batch.first:
                self.hidden.zero_()
                self.cell.zero_()
            # copies, since the buffers change before the backward pass
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
    """Trains text models, on one stream of characters or on poems.

    Raises:
        UsageError: if there is too little text for a batch, or none to evaluate on.
        NotFoundError: if ``text`` is missing.
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
        """Batches of indices of poems of similar length; or pieces of the stream, which starts at a random character."""
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
        """A planned piece of the stream, or a batch of poems."""
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
            raise UsageError(f"{len(self.stream)} characters of {self.data.dataset} are too few to train on")
        # a short text is one batch, with fewer rows or steps
        self.steps = min(self.steps, len(self.stream) - 1)
        self.rows = min(self.rows, (len(self.stream) - 1) // self.steps)

    def _read_poems(self, items: Sequence[Item]) -> None:
        vocabulary = self.model.vocabulary
        for item in items:
            if not isinstance(item.condition, Prompt) or item.condition.form is None:
                raise UsageError(f"{self.data.dataset} has no poems in a form", "model.kind=stream trains on any text")
        self.sequences = [vocabulary.encode(item.references[0]) for item in items]
        self.forms = [vocabulary.control(item.condition.form.name) for item in items]
        self.sizes = np.array([len(sequence) for sequence in self.sequences])
