"""The model: a recurrent encoder of a word's letters, and a recurrent decoder with attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from condgen_cli.generation import Axis
from condgen_cli.model import Item, Memory
from condgen_cli.nn import DecoderModel, RecurrentDecoder, make_attention, run
from condgen_cli.training import check

SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>")


class Letters:
    """The vocabulary: capital and small letters."""

    pad, bos, eos, unk = range(4)
    tokens = (*SPECIALS, *ascii_uppercase, *ascii_lowercase)

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """Ids of the letters; other characters are dropped."""
        return [self.tokens.index(letter) for letter in text if letter in self.tokens]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self.tokens[index] for index in ids if index >= len(SPECIALS))

    def token(self, index: int) -> str:
        return self.tokens[index]


class SpellerConfig(BaseModel):
    """``[model]`` of a recipe.

    Args:
        size: size of embeddings and states.
        match: name of the match function.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = 64
    match: str = "additive"


class Speller(DecoderModel):
    """Writes a word in capitals. ``DecoderModel`` provides ``start``, ``step`` and ``forward``."""

    vocabulary = Letters()

    def __init__(self, config: SpellerConfig) -> None:
        super().__init__()
        self.config = config
        size = config.size
        self.embedding = nn.Embedding(len(self.vocabulary), size)
        self.encoder = nn.GRU(size, size // 2, batch_first=True, bidirectional=True)
        attention = make_attention(config.match, size, size, size)
        self.decoder = RecurrentDecoder(len(self.vocabulary), size, size, size, attention, cell="gru")

    def collate(self, items: Sequence[Item]) -> Tensor:
        """Ids of the letters and the end token (batch, positions), padded."""
        rows = [torch.tensor([*self.vocabulary.encode(item.condition), self.vocabulary.eos]) for item in items]
        return pad_sequence(rows, batch_first=True, padding_value=self.vocabulary.pad)

    def encode(self, batch: Tensor) -> Memory:
        """The memory of words (batch, positions): values (batch, positions, size), one for each letter."""
        mask = batch != self.vocabulary.pad
        values, last = run(self.encoder, self.embedding(batch), mask.sum(1).cpu())
        labels = [tuple(map(self.vocabulary.token, row[real].tolist())) for row, real in zip(batch, mask, strict=True)]
        axes = [(Axis("input", "tokens", row),) for row in labels]
        assert self.decoder.attention is not None
        return Memory(values, self.decoder.attention.keys(values), mask, axes, vector=last)

    def example(self) -> Item:
        """An item with which ``condgen inspect`` measures shapes and costs."""
        return Item(id="letters", condition="letters", source="letters")


def build(config: Mapping[str, object], files: Mapping[str, Path]) -> Speller:
    """Build the model from its configuration, without its weights."""
    return Speller(check(SpellerConfig, config, source="model"))
