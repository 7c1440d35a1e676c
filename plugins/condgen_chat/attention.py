"""Two-level attention: over the words of each turn, and over the turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from condgen_cli.generation import AttentionMap, Axis
from condgen_cli.model import Memory
from condgen_cli.nn import Attention, MatchFunction

__all__ = ["TurnWordAttention", "append_turn", "turn_weights"]


class TurnWordAttention(Attention):
    """Attention whose weight of a word is the turn's weight times the word's weight within the turn.

    This follows Xing et al. 2018, eq. 3-6, but both levels are matched with the decoder's state alone. A memory's positions are
    the words of ``turns`` turns, padded to one length.

    Args:
        word, turn: match functions of the two levels.
        query_size: size of the decoder's state.
        turns: number of turns in a memory, padding included.
    """

    def __init__(self, word: MatchFunction, turn: MatchFunction, query_size: int, turns: int) -> None:
        super().__init__(word, query_size)
        self.turn_match = turn
        self.turns = turns

    def join_keys(self, keys: Tensor, contexts: Tensor) -> Tensor:
        """Keys of both levels.

        Args:
            keys: (batch, turns, words, key_size) keys of the words.
            contexts: (batch, turns, size) states after each turn.
        Returns:
            (batch, turns, words, key_size + turn key_size)
        """
        of_turns = self.turn_match.keys(contexts).unsqueeze(2)
        return torch.cat([keys, of_turns.expand(-1, -1, keys.shape[2], -1)], 3)

    def forward(
        self, query: Tensor, values: Tensor, keys: Tensor, mask: Tensor | None = None, previous: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As in ``Attention``; ``keys`` are those of ``join_keys``, flattened to (batch, positions, size)."""
        rows, batch = len(query), len(values)
        query = query.view(batch, rows // batch, -1)
        size = self.match.keys(values[:1, :1]).shape[2]
        of_words, of_turns = keys.tensor_split((size,), 2)
        real = torch.ones_like(values[..., 0], dtype=torch.bool) if mask is None else mask
        real = real.view(batch, 1, self.turns, -1)
        words = self.match(query, of_words).view(batch, rows // batch, self.turns, -1)
        turns = self.turn_match(query, of_turns[:, :: of_turns.shape[1] // self.turns])
        weights = _softmax(words, real) * _softmax(turns, real.any(3)).unsqueeze(3)
        weights = weights.flatten(2)
        return (weights @ values).flatten(0, 1), weights.flatten(0, 1)


def _softmax(scores: Tensor, real: Tensor) -> Tensor:
    """Softmax over the last axis, 0 at padding."""
    return scores.masked_fill(~real, torch.finfo(scores.dtype).min).softmax(-1).masked_fill(~real, 0.0)


def turn_weights(map: AttentionMap, end: str, label: Callable[[str], str]) -> AttentionMap:
    """Sum weights over words to weights over turns.

    Args:
        map: attention over words.
        end: label of the last position of each turn.
        label: makes a turn's label of its text.
    """
    words = [str(word) for word in map.axes[1].labels]
    ends = [place + 1 for place, word in enumerate(words) if word == end]
    starts = [0, *ends][:-1]
    texts = ["".join(words[start : stop - 1]).replace("▁", " ") for start, stop in zip(starts, ends, strict=True)]
    weights = np.add.reduceat(map.weights, starts, axis=1) if starts else map.weights
    turns = Axis("turn", "sentences", tuple(label(text) for text in texts))
    return AttentionMap(weights, (map.axes[0], turns))


def append_turn(memory: Memory, new: Memory, places: int, kept: int) -> Memory:
    """The memory with one new turn appended and the oldest turns beyond ``kept`` dropped.

    Args:
        memory, new: memories with equal numbers of rows, and positions (batch, turns · length), each padded to its own length.
        places: number of turns that the positions of each memory are divided into; 0: each position is a turn.
        kept: largest number of turns afterwards.
    """
    assert memory.keys is not None
    assert new.keys is not None
    assert memory.mask is not None
    assert new.mask is not None
    old_length = memory.values.shape[1] // places if places else 1
    new_length = new.values.shape[1] // places if places else 1
    length = max(old_length, new_length)

    def join(old: Tensor, fresh: Tensor) -> Tensor:
        parts = [
            F.pad(part.view(len(part), -1, own, part.shape[2]), (0, 0, 0, length - own))
            for part, own in ((old, old_length), (fresh, new_length))
        ]
        return torch.cat([parts[0], parts[1][:, -1:]], 1)[:, -kept:].flatten(1, 2)

    mask = join(memory.mask.unsqueeze(2), new.mask.unsqueeze(2)).squeeze(2)
    axes = [
        _keep_last_labels(old, fresh, int(count))
        for old, fresh, count in zip(memory.axes, new.axes, mask.sum(1).tolist(), strict=True)
    ]
    return replace(new, values=join(memory.values, new.values), keys=join(memory.keys, new.keys), mask=mask, axes=axes)


def _keep_last_labels(old: Sequence[Axis], new: Sequence[Axis], count: int) -> tuple[Axis, ...]:
    axis = old[0]
    labels = (*axis.labels, *new[0].labels)
    return (Axis(axis.name, axis.kind, labels[len(labels) - count :]),)
