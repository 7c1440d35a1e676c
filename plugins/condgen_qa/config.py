"""The options of the memory networks."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["QaConfig"]


class QaConfig(BaseModel):
    """Options of the memory networks.

    Args:
        embedding_size: d.
        hops: K.
        tying: ``adjacent`` (the output embedding of a hop is the input embedding of the next, and the last one is the answer
            matrix), ``layerwise`` (all hops have the same, and H maps the state from one to the next) or ``none``.
        encoding: of a sentence: the sum of its words (``bag``), with weights by their place (``position``), or the last state
            of a gated recurrent network (``rnn``).
        temporal: sentences also tell how far they are from the question.
        match: name of a match function, or ``module:Class`` (see ``match_function``).
        match_size: of the match function's own hidden layer.
        rectified: share of the units that pass a ReLU after each hop.
        answer_hidden: size of a hidden layer before the answer; 0: the answer is linear in the state.
        memory_size: the latest so many sentences are read.
        restarts: networks that are trained at once.
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
        """Whether answers have a matrix of their own; else it is the last embedding's."""
        return bool(self.answer_hidden) or self.tying != "adjacent"
