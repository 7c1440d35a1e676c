"""Models whose decoder is recurrent: what ``SequenceModel`` asks for of decoding, left to a ``RecurrentDecoder``."""

from __future__ import annotations

from torch import Tensor

from condgen_cli.model import Memory, SequenceModel, Step
from condgen_cli.nn.decoder import DecoderState, RecurrentDecoder

__all__ = ["DecoderModel"]


class DecoderModel(SequenceModel):
    """A sequence model that writes with ``decoder``: derive from it, make the decoder, implement ``collate`` and ``encode``.

    Attributes:
        decoder: reads the memories of ``encode``, which need a ``vector``.
    """

    decoder: RecurrentDecoder

    def start(self, memory: Memory, rows_per_item: int = 1) -> DecoderState:
        """The decoder's state before the first token."""
        return self.decoder.start(memory, rows_per_item)

    def step(self, token: Tensor, state: DecoderState, memory: Memory) -> Step:
        """Read one token (rows,) and predict the next."""
        return self.decoder.step(token, state, memory)

    def forward(self, memory: Memory, targets: Tensor) -> Tensor:
        """Teacher-forced logits (rows, steps, vocabulary) for inputs (rows, steps)."""
        forced = self.decoder(memory, targets)
        order = forced.kept.argsort()
        logits = self.decoder.logits(forced.features, forced.cached)
        return logits.index_select(0, order).view(*targets.shape, -1)
