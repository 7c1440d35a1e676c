"""The memory of a batch: queries are scored against a story's sentences, and their vectors are read with weights."""

from __future__ import annotations

import torch
from torch import Tensor

from condgen_qa.match import RestartedMatch
from condgen_qa.stories import Stories

__all__ = ["GatheredMemory", "SharedMemory", "attention_weights"]


class GatheredMemory:
    """A memory with a vector for every sentence of every story.

    Args:
        encoded: (restarts, texts, sets, size).
        times: (restarts, memory_size, sets, size), added by a sentence's distance; None for none.
        batch: says which texts and times the stories have.
        match: the match function.
    """

    def __init__(self, encoded: Tensor, times: Tensor | None, batch: Stories, match: RestartedMatch) -> None:
        vectors = encoded.index_select(1, batch.stories.flatten())
        if times is not None:
            vectors = vectors + times.index_select(1, batch.times.flatten())
        self.vectors = vectors.view(len(encoded), *batch.stories.shape, *encoded.shape[2:]).unbind(3)
        self.match = match

    def scores(self, query: Tensor, given: int) -> Tensor:
        """Of queries (restarts, batch, size) and their sentences: (restarts, batch, sentences)."""
        return self.match(query.unsqueeze(2), self.vectors[given]).squeeze(2)

    def read(self, weights: Tensor, taken: int) -> Tensor:
        """The sentences' vectors, weighted (restarts, batch, sentences): (restarts, batch, size)."""
        return (weights.unsqueeze(2) @ self.vectors[taken]).squeeze(2)


class SharedMemory:
    """The same memory where scores are linear in the vectors, so that none is ever made for a sentence of a story: a query is
    scored against every different text and every time, a sentence's score is the sum of two of these, and its weight is given
    to its text and to its time. A tenth of the memory traffic, and less with more restarts.

    Args as of ``GatheredMemory``.
    """

    def __init__(self, encoded: Tensor, times: Tensor | None, batch: Stories, match: RestartedMatch) -> None:
        table = encoded if times is None else torch.cat([encoded, times], 1)
        self.vectors = table.unbind(2)
        places = [batch.stories] if times is None else [batch.stories, batch.times + encoded.shape[1]]
        self.index = torch.cat(places, 1).expand(len(encoded), -1, -1)
        self.parts = len(places)
        self.match = match

    def scores(self, query: Tensor, given: int) -> Tensor:
        scores = self.match(query.unsqueeze(1), self.vectors[given].unsqueeze(1)).squeeze(1)
        return scores.gather(2, self.index).view(*scores.shape[:2], self.parts, -1).sum(2)

    def read(self, weights: Tensor, taken: int) -> Tensor:
        vectors = self.vectors[taken]
        spread = weights.new_zeros(*weights.shape[:2], vectors.shape[1])
        return spread.scatter_add(2, self.index, weights.repeat(1, 1, self.parts)) @ vectors


def attention_weights(scores: Tensor, mask: Tensor, linear: bool) -> Tensor:
    """Scores (restarts, batch, sentences) as weights: their softmax; if ``linear`` themselves."""
    return scores * mask if linear else scores.masked_fill(~mask, -torch.inf).softmax(-1)
