"""Scorer against bland replies, those that would fit any dialogue."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from condgen_cli.model import Memory
from condgen_cli.nn import DecoderModel, DecoderState

__all__ = ["REPLIES", "AntiLanguageModel"]

REPLIES = "mmi"
FIRST = 5
"""Tokens scored at the beginning of a reply. They decide whether it is bland; a penalty on later ones harms grammar."""


class _State(NamedTuple):
    decoder: DecoderState
    written: Tensor


class AntiLanguageModel:
    """A scorer that adds −log p(reply) for the first tokens: maximum mutual information (Li et al. 2016, eq. 9-12).

    It implements ``condgen_cli.running.decoding.Scorer``. The language model p(reply) is the dialogue model without its
    context, as in a share of its training.

    Args:
        model: the dialogue model.
        forget: function that removes the context from a memory.
    """

    def __init__(self, model: DecoderModel, forget: Callable[[Memory], Memory]) -> None:
        self.model = model
        self.forget = forget

    def start(self, memory: Memory, rows_per_item: int = 1) -> _State:
        state = self.model.start(self.forget(memory), rows_per_item)
        return _State(state, torch.zeros(len(state.hidden), dtype=torch.long, device=state.hidden.device))

    def score(self, token: Tensor, state: _State, memory: Memory) -> tuple[Tensor, _State]:
        """Scores (rows, vocabulary) of the token after ``token`` (rows,), and the next state."""
        step = self.model.step(token, state.decoder, self.forget(memory))
        judged = (state.written < FIRST).to(step.logits).unsqueeze(1)
        return -judged * step.logits.log_softmax(1), _State(step.state, state.written + 1)
