"""Options of the memory networks."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["QaConfig"]


class QaConfig(BaseModel):
    """Options of the memory networks (Sukhbaatar et al. 2015).

    Args:
        embedding_size: size d of embeddings and state.
        hops: number K of hops.
        tying: weight tying: ``adjacent`` (the output embedding of a hop is the input embedding of the next, the last one is the
            answer matrix), ``layerwise`` (all hops share embeddings, and H maps the state between hops) or ``none``.
        encoding: sentence encoding: sum of word embeddings (``bag``), sum with position encoding (``position``), or last state
            of a gated recurrent network (``rnn``).
        temporal: whether memories have an embedding of the sentence's distance from the question.
        match: name of a match function, or ``module:Class`` (see ``match_function``).
        match_size: size of the match function's hidden layer.
        rectified: share of the units with a ReLU after each hop.
        answer_hidden: size of a hidden layer before the answer; 0: none.
        memory_size: largest number of sentences in the memory; earlier ones are left out.
        restarts: number of networks trained side by side.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    embedding_size: int = Field(50, ge=1)
    hops: int = Field(3, ge=1)
    tying: Literal["adjacent", "layerwise", "none"] = "adjacent"
    encoding: Literal["bag", "position", "rnn"] = "position"
    temporal: bool = True
    match: str = "dot"
    match_size: int = Field(50, ge=1)
    rectified: float = Field(0.0, ge=0, le=1)
    answer_hidden: int = Field(0, ge=0)
    memory_size: int = Field(50, ge=1)
    restarts: int = Field(1, ge=1)

    @property
    def has_answer_matrix(self) -> bool:
        """Whether the answer matrix is a parameter of its own; else it is the last output embedding."""
        return bool(self.answer_hidden) or self.tying != "adjacent"
