"""Dialogues as tensors: the texts that are read of each, and which of them each row of a memory is made of."""

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
    """Dialogues, as texts that RNN 1 reads and the order that they stand in.

    A text is a turn, or the turns that a model without RNN 2 reads as one.

    Args:
        tokens: (texts, positions) ids, each turn ended, then padding.
        lengths: (texts,) real positions, at least 1, on the CPU.
        texts: (dialogues, longest) which texts a dialogue consists of; padded with 0.
        counts: (dialogues,) how many they are, on the CPU.
        rows: (rows, 2) for each row of the memory its dialogue, and how many of its texts have been read.
        labels: for each text what its tokens are shown as, and for each what it is shown as itself.
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
        """For each row the axis of what is attended to; none without labels.

        Args:
            name: of the axis.
            kind: ``sentences``: a position is a text; ``tokens``: it is a token of one.
            most: the latest texts that are attended to.
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
    """The turns of an item's condition, the last one's being to reply to; a text is one turn."""
    return (condition,) if isinstance(condition, str) else tuple(condition)


def make_batch(
    dialogues: Sequence[Sequence[Sequence[int]]],
    read: Sequence[Sequence[int]],
    config: ChatConfig,
    vocabulary: SubwordVocabulary,
) -> Dialogues:
    """Dialogues as tensors, with a row of the memory for each of several places in them.

    Args:
        dialogues: the ids of their turns, without end tokens.
        read: for each dialogue after how many of its turns there is a row.
        config: says which turns are a text.
        vocabulary: has the end token and the padding.
    """
    eos, size = vocabulary.eos, config.read_turns
    if config.hierarchical:
        texts = [[[*turn, eos] for turn in turns] for turns in dialogues]
        rows = [(place, count) for place, counts in enumerate(read) for count in counts]
    else:  # each row's turns are a text of their own
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
        dialogues: the turns that are read of each.
        tokens: of each dialogue and turn.
        end: what the end token is shown as.
        hierarchical: whether each turn is a text; else the turns of a dialogue are one.
    """
    if hierarchical:
        return [(*turn, end) for turns in tokens for turn in turns], [shorten(turn) for turns in dialogues for turn in turns]
    words = [tuple(word for turn in turns for word in (*turn, end)) for turns in tokens]
    return words, [shorten(" / ".join(turns)) for turns in dialogues]


def shorten(text: str) -> str:
    """A text cut to the length of a label, on one line."""
    text = " ".join(text.split())
    return text if len(text) <= _LABEL else f"{text[: _LABEL - 1]}…"
