"""What a translation model is besides its layers: options, reading sentences, writing translations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from condgen_cli.arrays import Array
from condgen_cli.contract import Memory, SequenceContract
from condgen_cli.data.subwords import BLANK, Piece, SubwordVocabulary
from condgen_cli.generation import Axis, Generation
from condgen_cli.item import Item
from condgen_cli.running.backends.onnx import GraphModel, Graphs
from condgen_cli.running.decoding import Hypothesis
from condgen_cli.running.signs import unread_doubt
from condgen_cli.training import check
from condgen_translate.chinese import normalise_chinese, restore_original

__all__ = ["SOURCE_FILE", "TARGET_FILE", "Sentences", "TranslateConfig", "Translator", "build_graphs", "read_files"]

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
    """A batch of source sentences, as arrays of either backend.

    Args:
        tokens: (batch, positions) token ids, end token last, then padding.
        lengths: (batch,) lengths without padding, on the CPU.
        labels: labels of each row's tokens.
    """

    tokens: Array
    lengths: Array
    labels: Sequence[tuple[str, ...]] = ()

    def to(self, device: Any, **options: object) -> Sentences:
        """The batch on a device of torch; lengths stay on the CPU, where sequences are packed."""
        return self._replace(tokens=self.tokens.to(device))


class Translator(SequenceContract):
    """Reads sentences and writes their translations, without what lies between: the layers.

    Attributes:
        config: options.
        source, vocabulary: the vocabularies of source and target.
    """

    config: TranslateConfig
    source: SubwordVocabulary
    vocabulary: SubwordVocabulary

    def example(self) -> Item:
        """An example item, for inspecting the architecture."""
        return Item("example", "example")

    def examples(self) -> list[Item]:
        """Items of different lengths."""
        return [Item("long", "an example of three words"), Item("short", "example")]

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
        """Source sentences as tokens, in NumPy arrays."""
        pieces = [self.pieces(item.condition) for item in items]
        lengths = np.array([len(row) + 1 for row in pieces])
        tokens = np.full((len(pieces), lengths.max()), self.source.pad)
        for row, found in enumerate(pieces):
            tokens[row, : lengths[row]] = [*(piece.id for piece in found), self.source.eos]
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

    def axes(self, batch: Sentences, memory: Memory) -> list[tuple[Axis, ...]]:
        """The source tokens; a memory of a single vector has none."""
        return [(Axis("source", "tokens", labels),) for labels in batch.labels] if self.config.kind == "attention" else []

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


class TranslateGraphs(Translator, GraphModel):
    """A translation model that ONNX Runtime computes."""

    def __init__(self, config: TranslateConfig, source: SubwordVocabulary, target: SubwordVocabulary, graphs: Graphs) -> None:
        super().__init__(graphs)
        self.config = config
        self.source = source
        self.vocabulary = target
        self.copies_unknown = config.kind == "attention"


def read_files(
    config: Mapping[str, Any], files: Mapping[str, Path]
) -> tuple[TranslateConfig, SubwordVocabulary, SubwordVocabulary]:
    """The options of a manifest entry or a run, and the vocabularies of source and target.

    Raises:
        UsageError: for unknown or impossible options.
    """
    parsed = check(TranslateConfig, config, source="translation model")
    target = SubwordVocabulary.load(files[TARGET_FILE])
    return parsed, target if parsed.share_embeddings else SubwordVocabulary.load(files[SOURCE_FILE]), target


def build_graphs(config: Mapping[str, Any], files: Mapping[str, Path], graphs: Graphs) -> TranslateGraphs:
    """The model of a manifest entry that has graphs; errors are those of ``read_files``."""
    return TranslateGraphs(*read_files(config, files), graphs)
