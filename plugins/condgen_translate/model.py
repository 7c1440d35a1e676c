"""Translation models: a recurrent encoder reads a sentence, a recurrent decoder writes it in another language.

* ``fixed``: the decoder starts from the encoder's last state (Sutskever et al. 2014);
* ``context``: the decoder also reads that state at each step (Cho et al. 2014);
* ``attention``: the decoder attends to all encoder states (Bahdanau et al. 2015; Luong et al. 2015).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from condgen_cli.data.subwords import BLANK, Piece, SubwordVocabulary
from condgen_cli.errors import UsageError
from condgen_cli.generation import Axis, Generation
from condgen_cli.model import Item, Memory
from condgen_cli.nn import DecoderModel, Dropout, RecurrentDecoder, make_attention, make_embedding, run
from condgen_cli.running.decoding import Hypothesis
from condgen_cli.running.signs import unread_doubt
from condgen_cli.training import check
from condgen_translate.chinese import normalise_chinese, restore_original

__all__ = ["SOURCE_FILE", "TARGET_FILE", "Sentences", "TranslateConfig", "TranslateModel", "build", "pad_sentences"]

SOURCE_FILE = "source.json"
TARGET_FILE = "target.json"
_WORD = re.compile(r"[^\W\d_]+")


class TranslateConfig(BaseModel):
    """Options of the translation models.

    Args:
        kind: how the decoder reads the source: ``fixed``, ``context`` or ``attention``.
        cell: recurrent cell of encoder and decoder.
        embedding_size, hidden_size: sizes of encoder and decoder; the encoder has ``hidden_size`` units in each direction.
        encoder_layers: number of encoder layers.
        bidirectional: whether the encoder reads in both directions.
        share_rnn: whether encoder and decoder share one recurrent layer. The encoder then has one layer and direction, and
            reads zeros in place of the decoder's context vector.
        share_embeddings: whether source and target share one vocabulary and embedding.
        match: name of a match function, or ``module:Class`` (see ``match_function``).
        match_size: size of the match function's hidden layer.
        query_hidden: size of a further layer on the decoder state before matching; 0: none.
        attend: whether attention is computed ``before`` or ``after`` the decoder's step, see
            ``condgen_cli.nn.RecurrentDecoder``.
        input_feeding: whether the output layer's vector is fed to the next step; with ``attend = "after"``.
        letters_per_piece: first percentile of letters per subword in in-domain sentences. A text with fewer gets a note on the
            model's domain. 0: unknown.
        mean_log_prob: first percentile of mean log-probability per token of outputs for in-domain sentences, used in the same
            way. None: unknown.
        dropout: dropout on embeddings, encoder states and the output layer.
        plain_chinese: whether the source is Chinese and normalised by ``condgen_translate.chinese.normalise_chinese``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["fixed", "context", "attention"] = "attention"
    cell: Literal["lstm", "gru"] = "lstm"
    embedding_size: int = Field(256, ge=1)
    hidden_size: int = Field(256, ge=1)
    encoder_layers: int = Field(1, ge=1)
    bidirectional: bool = True
    share_rnn: bool = False
    share_embeddings: bool = False
    match: str = "additive"
    match_size: int = Field(256, ge=1)
    query_hidden: int = Field(0, ge=0)
    attend: Literal["before", "after"] = "before"
    input_feeding: bool = False
    letters_per_piece: float = Field(0.0, ge=0)
    mean_log_prob: float | None = Field(None, le=0)
    dropout: float = Field(0.3, ge=0, lt=1)
    plain_chinese: bool = False

    @model_validator(mode="after")
    def _check_sharing(self) -> TranslateConfig:
        if self.share_rnn and (self.encoder_layers > 1 or self.bidirectional):
            raise ValueError("share_rnn needs an encoder with one layer and one direction, like the decoder")
        return self

    def read(self, source: str) -> str:
        """A source sentence as it is given to the source vocabulary."""
        return normalise_chinese(source) if self.plain_chinese else source


class Sentences(NamedTuple):
    """A batch of source sentences.

    Args:
        tokens: (batch, positions) token ids, end token last, then padding.
        lengths: (batch,) lengths without padding, on the CPU.
        labels: labels of each row's tokens.
    """

    tokens: Tensor
    lengths: Tensor
    labels: Sequence[tuple[str, ...]] = ()

    def to(self, device: torch.device | str, **options: object) -> Sentences:
        """The batch on a device; lengths stay on the CPU, where sequences are packed."""
        return self._replace(tokens=self.tokens.to(device))


def pad_sentences(sentences: Sequence[Sequence[int]], eos: int, pad: int) -> tuple[Tensor, Tensor]:
    """Token ids (rows, longest + 1), each row with its end token, and lengths (rows,)."""
    lengths = torch.tensor([len(sentence) + 1 for sentence in sentences])
    tokens = torch.full((len(sentences), int(lengths.max())), pad)
    for row, sentence in enumerate(sentences):
        tokens[row, : len(sentence) + 1] = torch.tensor([*sentence, eos])
    return tokens, lengths


class TranslateModel(DecoderModel):
    """Reads a sentence and writes it in another language.

    Args:
        config: options.
        source, target: vocabularies; one object if embeddings are shared.
    Raises:
        UsageError: if the config contradicts itself or the vocabularies.
    """

    vocabulary: SubwordVocabulary

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

    def example(self) -> Item:
        """An example item, for inspecting the architecture."""
        return Item("example", "example")

    def condition(self, item: Item) -> str:
        """The source sentence."""
        return str(item.condition)

    def length(self, item: Item) -> int:
        """Characters of the source, by which batches are sorted."""
        return len(item.condition)

    def pieces(self, source: str) -> list[Piece]:
        """Subwords of a source sentence, each with its original text."""
        read = self.config.read(source)
        return restore_original(self.source.pieces(read), read, source)

    def collate(self, items: Sequence[Item]) -> Sentences:
        """Source sentences as tokens."""
        pieces = [self.pieces(item.condition) for item in items]
        tokens, lengths = pad_sentences([[piece.id for piece in row] for row in pieces], self.source.eos, self.source.pad)
        end = self.source.token(self.source.eos)
        return Sentences(tokens, lengths, [(*(piece.text for piece in row), end) for row in pieces])

    def parts(self, item: Item) -> tuple[Axis, ...]:
        """The source's subwords; none if there is but one."""
        pieces = tuple(piece.text for piece in self.pieces(item.condition))
        return (Axis("source", "tokens", pieces),) if len(pieces) > 1 else ()

    def occlude(self, item: Item, hidden: NDArray[np.bool_]) -> list[Item]:
        """Copies of the source without the hidden subwords."""
        pieces = np.array([piece.text for piece in self.pieces(item.condition)], dtype=object)
        texts = ["".join(pieces[~row]).replace(BLANK, " ").strip() for row in hidden]
        return [replace(item, condition=text) for text in texts]

    def encode(self, batch: Sentences) -> Memory:
        """A memory of the encoder's states (batch, positions, directions · hidden_size), with their last ones as vector."""
        device = self.decoder.bias.device
        tokens = batch.tokens.to(device)
        outputs, final = run(*self._reader(self._embed(tokens)), batch.lengths)
        vector = self.dropout(final)
        axes = [(Axis("source", "tokens", labels),) for labels in batch.labels]
        if self.decoder.attention is None:
            return Memory(vector.unsqueeze(1), vector=vector)
        values = self.dropout(outputs)
        mask = torch.arange(tokens.shape[1], device=device) < batch.lengths.to(device).unsqueeze(1)
        return Memory(values, self.decoder.attention.keys(values), mask, axes, vector=vector)

    def unread(self, item: Item) -> tuple[str, ...]:
        """Characters of the source that its vocabulary lacks."""
        return tuple(piece.text for piece in self.pieces(item.condition) if piece.id == self.source.unk)

    def doubt(self, item: Item) -> str:
        """A note that the output is a guess if the source is mostly unknown characters, else empty."""
        return unread_doubt(*self.source.unread(self.config.read(item.condition)))

    def is_out_of_domain(self, item: Item, generation: Generation) -> bool:
        """Whether the source's words split into smaller subwords than in-domain sentences, or the output is less probable."""
        words = _WORD.findall(self.config.read(item.condition))
        pieces = sum(len(self.source.pieces(word)) for word in words)
        if len(words) > 1 and sum(map(len, words)) < self.config.letters_per_piece * pieces:
            return True
        least, found = self.config.mean_log_prob, generation.mean_log_prob
        return least is not None and found is not None and found < least

    def write(self, hypothesis: Hypothesis, item: Item) -> str:
        """The text of a hypothesis, with unknown tokens copied from the source.

        An unknown token is replaced by the unknown source token that it attends to most, or by any source token if none is
        unknown (Luong et al. 2015b, section 3.3, with attention in place of an aligner).
        """
        unknown = [step for step, token in enumerate(hypothesis.ids) if token == self.vocabulary.unk]
        if not unknown or not self.copies_unknown:
            return self.vocabulary.decode(hypothesis.ids)
        pieces = self.pieces(item.condition)
        places = [place for place, piece in enumerate(pieces) if piece.id == self.source.unk] or list(range(len(pieces)))
        weights = hypothesis.attention["attention"][:, places]
        copied = [pieces[places[int(weights[step].argmax())]].text.strip(BLANK) for step in unknown]
        return self.vocabulary.decode(hypothesis.ids, copied)

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
    parsed = check(TranslateConfig, config, source="translation model")
    target = SubwordVocabulary.load(files[TARGET_FILE])
    source = target if parsed.share_embeddings else SubwordVocabulary.load(files[SOURCE_FILE])
    return TranslateModel(parsed, source, target)
