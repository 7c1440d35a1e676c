"""The model: its memory holds a word's letters in capitals, and step t attends to position t and writes what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from condgen_cli.generation import Axis
from condgen_cli.model import Item, Memory, SequenceModel, Step

SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>")


class Letters:
    """The vocabulary: capital letters."""

    pad, bos, eos, unk = range(4)
    tokens = (*SPECIALS, *ascii_uppercase)

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """Ids of the letters; anything else is left out."""
        return [self.tokens.index(letter) for letter in text.upper() if letter in ascii_uppercase]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self.tokens[index] for index in ids if index >= len(SPECIALS))

    def token(self, index: int) -> str:
        return self.tokens[index]


class State(NamedTuple):
    """Everything that changes from step to step; tensors with a row for each output being written."""

    position: Tensor  # (rows,)


class Speller(SequenceModel):
    """Attends to one letter after the other."""

    vocabulary = Letters()

    def collate(self, items: Sequence[Item]) -> Tensor:
        """Ids of the letters (batch, positions), the end last, padded."""
        rows = [torch.tensor([*self.vocabulary.encode(item.condition), self.vocabulary.eos]) for item in items]
        return pad_sequence(rows, batch_first=True, padding_value=self.vocabulary.pad)

    def encode(self, batch: Tensor) -> Memory:
        """values: (batch, positions, vocabulary), one-hot."""
        values = nn.functional.one_hot(batch, len(self.vocabulary)).float()
        mask = batch != self.vocabulary.pad
        labels = [tuple(map(self.vocabulary.token, row[real].tolist())) for row, real in zip(batch, mask, strict=True)]
        return Memory(values, mask=mask, axes=[(Axis("input", "tokens", row),) for row in labels])

    def start(self, memory: Memory, rows_per_item: int = 1) -> State:
        return State(torch.zeros(len(memory) * rows_per_item, dtype=torch.long, device=memory.values.device))

    def step(self, token: Tensor, state: State, memory: Memory) -> Step:
        # decoder rows are grouped by memory row: with m for each input, row i reads row i // m of the memory
        position = state.position.view(len(memory), -1)
        here = torch.minimum(position, _last(memory))
        weights = nn.functional.one_hot(here, memory.values.shape[1]).float()
        read = (weights @ memory.values).flatten(0, 1)
        return Step((read + 1e-4).log(), State(state.position + 1), {"attention": weights.flatten(0, 1)})

    def example(self) -> Item:
        """An input that ``condgen inspect`` runs through the model for shapes and costs."""
        return Item(id="letters", condition="letters", source="letters")


def _last(memory: Memory) -> Tensor:
    """(batch, 1): where each row's end token is."""
    assert memory.mask is not None
    return memory.mask.sum(1, keepdim=True) - 1


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> Speller:
    """Called with the ``config`` and the files of a manifest's entry."""
    return Speller()
