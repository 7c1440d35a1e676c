"""The options of the dialogue models."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ChatConfig"]


class ChatConfig(BaseModel):
    """Options of the dialogue models.

    Args:
        encoder: what is read of a dialogue.
        cell: of RNN 1 and the decoder; RNN 2 is a GRU.
        embedding_size: of a token, read or written.
        encoder_size: of RNN 1, in each direction.
        bidirectional: whether RNN 1 reads a turn both ways.
        dialogue_size: of RNN 2.
        hidden_size: of the decoder.
        attention: of the decoder, beside the context that it reads at every step: to ``turns`` (RNN 2's state after each; with
            ``hierarchical`` only) or to the ``words`` of the last turns.
        match: name of a match function, or ``module:Class`` (see ``match_function``).
        match_size: of the match function's own hidden layer.
        turns: whose words are attended to, or that are joined.
        history: turns that an encoding goes back, and whose states are kept for attention.
        cache: so many tokens of the dialogue, whoever wrote them, are likely again in places like theirs; see
            ``condgen_cli.nn.Cache``. With ``hierarchical`` only, which the cache goes back as far as.
        max_tokens: of a turn; of a longer one the last are read.
        dropout: on embeddings, codes and the output layer.
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
        """How many turns of a dialogue are read."""
        return {"hierarchical": self.history, "last-turn": 1, "joined": self.turns}[self.encoder]

    @property
    def attended_turns(self) -> int:
        """Places for texts whose words are attended to."""
        return self.turns if self.hierarchical else 1
