"""Batches of dialogues: their texts, and the texts that each row of a memory covers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from condgen_chat.config import ChatConfig
from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.generation import Axis

__all__ = ["Dialogues", "make_batch", "make_labels", "shorten", "turns_of"]

_LABEL = 80


class Dialogues(NamedTuple):
    """A batch of dialogues: the texts that RNN 1 reads, and their order.

    A text is a turn, or the turns that a model without RNN 2 reads as one.

    Args:
        tokens: (texts, positions) token ids, each turn followed by the end token, then padding.
        lengths: (texts,) lengths without padding, at least 1, on the CPU.
        texts: (dialogues, longest) indices of each dialogue's texts; padded with 0.
        counts: (dialogues,) number of texts, on the CPU.
        rows: (rows, 2) for each row of the memory its dialogue, and the number of texts read.
        labels: labels of each text's tokens, and a label of each text.
    """

    tokens: Tensor
    lengths: Tensor
    texts: Tensor
    counts: Tensor
    rows: Tensor
    labels: tuple[Sequence[tuple[str, ...]], Sequence[str]] = ((), ())

    def to(self, device: torch.device | str, **options: object) -> Dialogues:
        """The batch on a device; lengths and counts stay on the CPU."""
        return self._replace(tokens=self.tokens.to(device), texts=self.texts.to(device), rows=self.rows.to(device))

    def axes(self, name: str, kind: str, most: int) -> list[tuple[Axis, ...]]:
        """The attention axis of each row; empty without labels.

        Args:
            name: name of the axis.
            kind: ``sentences`` if a position is a text, ``tokens`` if it is a token.
            most: largest number of last texts that are attended to.
        """
        words, names = self.labels
        if not names:
            return []
        axes: list[tuple[Axis, ...]] = []
        for dialogue, count in self.rows.tolist():
            texts = self.texts[dialogue, max(0, count - most) : count].tolist()
            shown = [names[text] for text in texts] if kind == "sentences" else [one for text in texts for one in words[text]]
            axes.append((Axis(name, kind, tuple(shown)),))
        return axes


def turns_of(condition: Any) -> tuple[str, ...]:
    """The turns of an item's condition, of which the last is replied to; a string is one turn."""
    return (condition,) if isinstance(condition, str) else tuple(condition)


def make_batch(
    dialogues: Sequence[Sequence[Sequence[int]]],
    read: Sequence[Sequence[int]],
    config: ChatConfig,
    vocabulary: SubwordVocabulary,
) -> Dialogues:
    """A batch of dialogues, with a row of the memory for each of several places in them.

    Args:
        dialogues: token ids of each dialogue's turns, without end tokens.
        read: for each dialogue the numbers of turns read, one for each row of the memory.
        config: options, which say which turns form a text.
        vocabulary: vocabulary with the end token and the padding.
    """
    eos, size = vocabulary.eos, config.read_turns
    if config.hierarchical:
        texts = [[[*turn, eos] for turn in turns] for turns in dialogues]
        rows = [(place, count) for place, counts in enumerate(read) for count in counts]
    else:  # each row has its own text
        joined = [
            [[token for turn in turns[max(0, count - size) : count] for token in (*turn, eos)]]
            for turns, counts in zip(dialogues, read, strict=True)
            for count in counts
        ]
        texts = [[text for text in one if text] for one in joined]
        rows = [(place, len(one)) for place, one in enumerate(texts)]
    flat = [text for turns in texts for text in turns] or [[eos]]
    lengths = torch.tensor(list(map(len, flat)))
    tokens = torch.full((len(flat), int(lengths.max())), vocabulary.pad)
    for place, text in enumerate(flat):
        tokens[place, : len(text)] = torch.tensor(text)
    counts = torch.tensor(list(map(len, texts)))
    numbers = torch.zeros(len(texts), max(1, int(counts.max())), dtype=torch.long)
    first = 0
    for place, turns in enumerate(texts):
        numbers[place, : len(turns)] = torch.arange(first, first + len(turns))
        first += len(turns)
    return Dialogues(tokens, lengths, numbers, counts, torch.tensor(rows))


def make_labels(
    dialogues: Sequence[Sequence[str]], tokens: Sequence[Sequence[tuple[str, ...]]], end: str, hierarchical: bool
) -> tuple[list[tuple[str, ...]], list[str]]:
    """``Dialogues.labels``.

    Args:
        dialogues: turns of each dialogue that are read.
        tokens: labels of the tokens of each turn of each dialogue.
        end: label of the end token.
        hierarchical: whether each turn is a text; else the turns of a dialogue form one.
    """
    if hierarchical:
        return [(*turn, end) for turns in tokens for turn in turns], [shorten(turn) for turns in dialogues for turn in turns]
    words = [tuple(word for turn in turns for word in (*turn, end)) for turns in tokens]
    return words, [shorten(" / ".join(turns)) for turns in dialogues]


def shorten(text: str) -> str:
    """A text cut to the length of a label, on one line."""
    text = " ".join(text.split())
    return text if len(text) <= _LABEL else f"{text[: _LABEL - 1]}…"
