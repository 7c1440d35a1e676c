"""Options of the dialogue models."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ChatConfig"]


class ChatConfig(BaseModel):
    """Options of the dialogue models.

    Args:
        encoder: ``hierarchical`` reads turn by turn, ``last-turn`` the last turn alone, ``joined`` the last turns as one text.
        cell: cell of RNN 1 and the decoder; RNN 2 is a GRU.
        embedding_size: size of token embeddings.
        encoder_size: units of RNN 1 in each direction.
        bidirectional: whether RNN 1 reads a turn in both directions.
        dialogue_size: units of RNN 2.
        hidden_size: units of the decoder.
        attention: what the decoder attends to beside the context vector that it reads at each step: ``none``, ``turns`` (RNN
            2's states; with ``hierarchical`` only) or the ``words`` of the last turns.
        match: name of a match function, or ``module:Class`` (see ``match_function``).
        match_size: size of the match function's hidden layer.
        turns: number of last turns whose words are attended to, or that are joined.
        history: number of last turns that are read, and whose states are kept for attention.
        cache: number of latest tokens of the dialogue in the cache, see ``condgen_cli.nn.Cache``; 0: no cache. With
            ``hierarchical`` only; it reaches back ``history`` turns.
        max_tokens: tokens read of a turn, its last ones.
        dropout: dropout on embeddings, codes of turns and the output layer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: Literal["hierarchical", "last-turn", "joined"] = "hierarchical"
    cell: Literal["lstm", "gru"] = "gru"
    embedding_size: int = Field(128, ge=1)
    encoder_size: int = Field(96, ge=1)
    bidirectional: bool = True
    dialogue_size: int = Field(192, ge=1)
    hidden_size: int = Field(256, ge=1)
    attention: Literal["none", "turns", "words"] = "none"
    match: str = "bilinear"
    match_size: int = Field(128, ge=1)
    turns: int = Field(3, ge=1)
    history: int = Field(32, ge=1)
    cache: int = Field(0, ge=0)
    max_tokens: int = Field(60, ge=1)
    dropout: float = Field(0.2, ge=0, lt=1)

    @property
    def hierarchical(self) -> bool:
        return self.encoder == "hierarchical"

    @property
    def read_turns(self) -> int:
        """Number of last turns that are read."""
        return {"hierarchical": self.history, "last-turn": 1, "joined": self.turns}[self.encoder]

    @property
    def attended_turns(self) -> int:
        """Number of texts whose words are attended to."""
        return self.turns if self.hierarchical else 1
