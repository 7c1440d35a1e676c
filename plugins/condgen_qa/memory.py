"""The memory of a batch of stories: scores of queries against sentences, and weighted sums of sentence vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from condgen_qa.match import RestartedMatch
from condgen_qa.stories import Stories

__all__ = ["GatheredMemory", "SharedMemory", "attention_weights"]


class GatheredMemory:
    """A memory with a vector for every sentence of every story.

    Args:
        encoded: (restarts, texts, sets, size) vectors of the different texts by each embedding.
        times: (restarts, memory_size, sets, size) temporal embeddings by distance from the question; None for none.
        batch: texts and times of each story's sentences.
        match: the match function.
    """

    def __init__(self, encoded: Tensor, times: Tensor | None, batch: Stories, match: RestartedMatch) -> None:
        vectors = encoded.index_select(1, batch.stories.flatten())
        if times is not None:
            vectors = vectors + times.index_select(1, batch.times.flatten())
        self.vectors = vectors.view(len(encoded), *batch.stories.shape, *encoded.shape[2:]).unbind(3)
        self.match = match

    def scores(self, query: Tensor, index: int) -> Tensor:
        """Scores (restarts, batch, sentences) of queries (restarts, batch, size) by embedding ``index``."""
        return self.match(query.unsqueeze(2), self.vectors[index]).squeeze(2)

    def read(self, weights: Tensor, index: int) -> Tensor:
        """Sums (restarts, batch, size) of vectors by embedding ``index``, weighted by (restarts, batch, sentences)."""
        return (weights.unsqueeze(2) @ self.vectors[index]).squeeze(2)


class SharedMemory:
    """The same memory for match functions that are linear in the vectors, without a vector per sentence.

    A query is scored against every different text and every time; a sentence's score is the sum of its text's and its time's,
    and its weight counts for both. This needs a tenth of the memory traffic, and less with more restarts.

    Args: as for ``GatheredMemory``.
    """

    def __init__(self, encoded: Tensor, times: Tensor | None, batch: Stories, match: RestartedMatch) -> None:
        table = encoded if times is None else torch.cat([encoded, times], 1)
        self.vectors = table.unbind(2)
        places = [batch.stories] if times is None else [batch.stories, batch.times + encoded.shape[1]]
        self.index = torch.cat(places, 1).expand(len(encoded), -1, -1)
        self.parts = len(places)
        self.match = match

    def scores(self, query: Tensor, index: int) -> Tensor:
        scores = self.match(query.unsqueeze(1), self.vectors[index].unsqueeze(1)).squeeze(1)
        return scores.gather(2, self.index).view(*scores.shape[:2], self.parts, -1).sum(2)

    def read(self, weights: Tensor, index: int) -> Tensor:
        vectors = self.vectors[index]
        spread = weights.new_zeros(*weights.shape[:2], vectors.shape[1])
        return spread.scatter_add(2, self.index, weights.repeat(1, 1, self.parts)) @ vectors


def attention_weights(scores: Tensor, mask: Tensor, linear: bool) -> Tensor:
    """Attention weights: the softmax of scores (restarts, batch, sentences), or the scores themselves if ``linear``."""
    return scores * mask if linear else scores.masked_fill(~mask, -torch.inf).softmax(-1)
