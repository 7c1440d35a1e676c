"""Base class of sequence models with a ``RecurrentDecoder``."""

from __future__ import annotations

from torch import Tensor

from condgen_cli.model import Memory, SequenceModel, Step
from condgen_cli.nn.decoder import DecoderState, RecurrentDecoder

__all__ = ["DecoderModel"]


class DecoderModel(SequenceModel):
    """A sequence model with a recurrent decoder: derive from it, set ``decoder``, implement ``collate`` and ``encode``.

    Attributes:
        decoder: decoder over the memories of ``encode``, which must have a ``vector``.
    """

    decoder: RecurrentDecoder

    def start(self, memory: Memory, rows_per_item: int = 1) -> DecoderState:
        """The decoder's state before the first token."""
        return self.decoder.start(memory, rows_per_item)

    def step(self, token: Tensor, state: DecoderState, memory: Memory) -> Step:
        """Read one token (rows,) and predict the next."""
        return self.decoder.step(token, state, memory)

    def forward(self, memory: Memory, targets: Tensor) -> Tensor:
        """Logits (rows, steps, vocabulary_size) of input tokens (rows, steps) under teacher forcing."""
        forced = self.decoder(memory, targets)
        order = forced.kept.argsort()
        logits = self.decoder.logits(forced.features, forced.cached)
        return logits.index_select(0, order).view(*targets.shape, -1)
