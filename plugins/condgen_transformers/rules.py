"""What a model's files forbid in its outputs, as a scorer of the search: 0 for what may be written, minus infinity otherwise.

As in transformers, log-probabilities stay the model's own: what is forbidden is not renormalised away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from condgen_cli.model import Memory

__all__ = ["SOURCE", "Rules"]

SOURCE = "source"
"""Name of the memory's auxiliary tensor of source ids (batch, positions), for n-grams that may not be copied."""


class _State(NamedTuple):
    """Tokens so far, (rows, steps)."""

    written: Tensor


class Rules:
    """A scorer of hypotheses that forbids tokens.

    Args:
        size: number of ids, that of the vocabulary.
        never: ids that are never written.
        first: ids that aren't written as the first token.
        copied: size of n-grams of the source that may not be copied to the output; 0: all may.
    """

    def __init__(self, size: int, never: Sequence[int], first: Sequence[int], copied: int = 0) -> None:
        self.always = torch.zeros(size)
        self.always[[index for index in never if 0 <= index < size]] = -torch.inf
        self.begin = self.always.clone()
        self.begin[[index for index in first if 0 <= index < size]] = -torch.inf
        self.copied = copied

    @classmethod
    def of(cls, size: int, generation: Any) -> Rules:
        """The rules of a ``GenerationConfig``."""
        bad = [words[0] for words in generation.bad_words_ids or () if len(words) == 1]
        copied = int(generation.encoder_no_repeat_ngram_size or 0)
        return cls(size, [*(generation.suppress_tokens or ()), *bad], generation.begin_suppress_tokens or (), copied)

    def start(self, memory: Memory, rows_per_item: int = 1) -> _State:
        """The state before the first token."""
        return _State(torch.zeros(len(memory) * rows_per_item, 0, dtype=torch.long, device=memory.values.device))

    def score(self, token: Tensor, state: _State, memory: Memory) -> tuple[Tensor, _State]:
        """Scores (rows, vocabulary) of the next token, 0 or minus infinity, and the next state."""
        first = state.written.shape[1] == 0
        written = torch.cat([state.written, token.unsqueeze(1)], 1)
        scores = (self.begin if first else self.always).to(memory.values.device).expand(len(token), -1)
        source = memory.auxiliary.get(SOURCE)
        if self.copied and source is not None and written.shape[1] >= self.copied:
            scores = scores.clone()
            rows = source.repeat_interleave(len(token) // len(source), 0)
            for row, following in _copies(rows, written, self.copied):
                scores[row, following] = -torch.inf
        return scores, _State(written)


def _copies(source: Tensor, written: Tensor, size: int) -> list[tuple[int, int]]:
    """Pairs of a row and a token that would copy an n-gram of the row's source (rows, positions)."""
    ngrams: Mapping[int, Tensor] = {0: source.unfold(1, size, 1)} if source.shape[1] >= size else {}
    if not ngrams:
        return []
    found = ngrams[0]
    end = written[:, written.shape[1] - size + 1 :].unsqueeze(1)
    same = (found[:, :, :-1] == end).all(2)
    rows, places = same.nonzero(as_tuple=True)
    return list(zip(rows.tolist(), found[rows, places, -1].tolist(), strict=True))
