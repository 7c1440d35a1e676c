"""Translation models: a recurrent encoder reads a sentence, a recurrent decoder writes it in another language.

* ``fixed``: the decoder starts from the encoder's last state (Sutskever et al. 2014);
* ``context``: the decoder also reads that state at each step (Cho et al. 2014);
* ``attention``: the decoder attends to all encoder states (Bahdanau et al. 2015; Luong et al. 2015).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.errors import UsageError
from condgen_cli.model import Item, Memory
from condgen_cli.nn import DecoderModel, Dropout, RecurrentDecoder, make_attention, make_embedding, run
from condgen_translate.sentences import (
    SOURCE_FILE,
    TARGET_FILE,
    Sentences,
    TranslateConfig,
    Translator,
    read_files,
)

__all__ = ["SOURCE_FILE", "TARGET_FILE", "Sentences", "TranslateConfig", "TranslateModel", "build", "pad_sentences"]


def pad_sentences(sentences: Sequence[Sequence[int]], eos: int, pad: int) -> tuple[Tensor, Tensor]:
    """Token ids (rows, longest + 1), each row with its end token, and lengths (rows,)."""
    lengths = torch.tensor([len(sentence) + 1 for sentence in sentences])
    tokens = torch.full((len(sentences), int(lengths.max())), pad)
    for row, sentence in enumerate(sentences):
        tokens[row, : len(sentence) + 1] = torch.tensor([*sentence, eos])
    return tokens, lengths


class TranslateModel(Translator, DecoderModel):
    """Reads a sentence and writes it in another language.

    Args:
        config: options.
        source, target: vocabularies; one object if embeddings are shared.
    Raises:
        UsageError: if the config contradicts itself or the vocabularies.
    """

    def __init__(self, config: TranslateConfig, source: SubwordVocabulary, target: SubwordVocabulary) -> None:
        super().__init__()
        if config.share_embeddings and source is not target:
            raise UsageError("share_embeddings needs one vocabulary for source and target")
        self.config = config
        self.source = source
        self.vocabulary = target
        self.copies_unknown = config.kind == "attention"
        attends = config.kind == "attention"
        directions = 2 if config.bidirectional else 1
        value_size = directions * config.hidden_size
        attention = None
        if attends:
            sizes = (config.hidden_size, value_size, config.match_size, config.query_hidden)
            attention = make_attention(config.match, *sizes)
        self.decoder = RecurrentDecoder(
            len(target),
            config.embedding_size,
            config.hidden_size,
            value_size,
            attention,
            feed="start" if config.kind == "fixed" else "every",
            dropout=config.dropout,
            attend=config.attend,
            input_feeding=config.input_feeding,
            cell=config.cell,
        )
        self.embedding = None if config.share_embeddings else make_embedding(len(source), config.embedding_size)
        self.encoder = None if config.share_rnn else _encoder(config)
        self.dropout = Dropout(config.dropout)

    def collate(self, items: Sequence[Item]) -> Sentences:
        """Source sentences as tokens."""
        batch = super().collate(items)
        return batch._replace(tokens=torch.from_numpy(batch.tokens), lengths=torch.from_numpy(batch.lengths))

    def encode(self, batch: Sentences) -> Memory:
        """A memory of the encoder's states (batch, positions, directions · hidden_size), with their last ones as vector."""
        device = self.decoder.bias.device
        tokens = batch.tokens.to(device)
        outputs, final = run(*self._reader(self._embed(tokens)), batch.lengths)
        vector = self.dropout(final)
        if self.decoder.attention is None:
            return Memory(vector.unsqueeze(1), vector=vector)
        values = self.dropout(outputs)
        mask = torch.arange(tokens.shape[1], device=device) < batch.lengths.to(device).unsqueeze(1)
        memory = Memory(values, self.decoder.attention.keys(values), mask, vector=vector)
        return replace(memory, axes=self.axes(batch, memory))

    def _embed(self, tokens: Tensor) -> Tensor:
        if self.embedding is None:
            return self.decoder.embed(tokens)
        return self.dropout(self.embedding(tokens) * self.config.embedding_size**0.5)

    def _reader(self, embedded: Tensor) -> tuple[nn.LSTM | nn.GRU, Tensor]:
        """The recurrent layers that read the source, and their inputs."""
        if self.encoder is not None:
            return self.encoder, embedded
        rnn = self.decoder.rnn
        return rnn, F.pad(embedded, (0, rnn.input_size - embedded.shape[-1]))


def _encoder(config: TranslateConfig) -> nn.LSTM | nn.GRU:
    kind = nn.LSTM if config.cell == "lstm" else nn.GRU
    return kind(
        config.embedding_size,
        config.hidden_size,
        config.encoder_layers,
        batch_first=True,
        bidirectional=config.bidirectional,
        dropout=config.dropout if config.encoder_layers > 1 else 0.0,
    )


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> TranslateModel:
    """The model of a manifest entry or a run, without its weights.

    Raises:
        UsageError: for unknown or impossible options.
    """
    return TranslateModel(*read_files(config, files))
