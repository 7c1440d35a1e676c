"""A character language model that continues a prompt, or writes poems in a form.

Its network is ``condgen_cli.nn.LanguageModel``: layers of LSTM (Mikolov et al. 2010; Zaremba et al. 2014), optionally
with the output matrix tied to the embedding (Press and Wolf 2017). Constraints on the text are masks on the logits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from condgen_cli.item import Item
from condgen_cli.model import Memory, SequenceModel, Step
from condgen_cli.nn import LanguageModel
from condgen_cli.nn.language_model import LanguageModelState
from condgen_cli.training import check
from condgen_generate.texts import ANY, FREE, OPEN, SYLLABLE, VOCABULARY_FILE, Prompts, TextConfig, Writer
from condgen_generate.verse import COMMA, PERIOD
from condgen_generate.vocabulary import CharacterVocabulary

__all__ = ["VOCABULARY_FILE", "Prompts", "TextConfig", "TextModel", "TextState", "build"]

LIKELIEST = 5
"""Most probable tokens reported at each step."""

_FORBIDDEN = -1e4
"""Logit of a token that isn't allowed; finite, so that a text can end anywhere at the length limit."""


class TextState(NamedTuple):
    """State between two steps.

    Args:
        hidden, cell: (rows, layers, hidden_size) states of the LSTM.
        pending: (rows,) token that the first step reads in place of ``bos``; -1 afterwards.
        position: (rows,) number of steps done.
        tail: (rows, characters) latest tokens, as many as a stop text has.
    """

    hidden: Tensor
    cell: Tensor
    pending: Tensor
    position: Tensor
    tail: Tensor


class TextModel(Writer, SequenceModel):
    """Continues a prompt character by character; the memory has no positions.

    A poem begins with its form as a control token in place of ``bos``, a stream with a line end.

    Args:
        config: options.
        vocabulary: vocabulary of characters; for verse with the forms as control tokens.
    """

    allowed: Tensor

    def __init__(self, config: TextConfig, vocabulary: CharacterVocabulary) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        self.network = LanguageModel(
            len(vocabulary), config.embedding_size, config.hidden_size, config.layers, config.dropout, tied=config.tied
        )
        allowed = torch.zeros(-FREE, len(vocabulary), dtype=torch.bool)
        allowed[FREE] = True
        allowed[OPEN:, vocabulary.first :] = True
        allowed[OPEN, vocabulary.eos] = True
        allowed[SYLLABLE, vocabulary.encode(COMMA + PERIOD)] = False
        self.register_buffer("allowed", allowed, persistent=False)

    def collate(self, items: Sequence[Item]) -> Prompts:
        """A batch of prompts; errors are those of ``Writer.collate``."""
        return Prompts(*(torch.from_numpy(part) for part in super().collate(items)))

    def encode(self, batch: Prompts) -> Memory:
        """The state after each prompt, as auxiliary tensors."""
        device = self.network.bias.device
        rows = batch.last.shape[0]
        state = self.network.start(rows)
        read = batch.lengths > 0
        if read.any():
            embedded = self.network.embedding(batch.tokens.to(device)) * self.network.scale
            lengths = batch.lengths.clamp(min=1).cpu()
            _, final = self.network.lstm(pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False))
            real = read.to(device).view(rows, 1, 1)
            state = LanguageModelState(*(part.transpose(0, 1) * real for part in final))
        places = batch.places
        return Memory(
            self.network.bias.new_zeros(rows, 0, 1),
            auxiliary={
                "hidden": state.hidden,
                "cell": state.cell,
                "pending": batch.last.to(device),
                "places": places.to(device),
                "stop": batch.stop.to(device),
            },
        )

    def start(self, memory: Memory, rows_per_item: int = 1) -> TextState:
        """The state before the prompt's last token."""
        hidden, cell, pending = (
            memory.auxiliary[name].repeat_interleave(rows_per_item, 0) for name in ("hidden", "cell", "pending")
        )
        tail = pending.new_full((pending.shape[0], memory.auxiliary["stop"].shape[1]), -1)
        return TextState(hidden, cell, pending, torch.zeros_like(pending), tail)

    def step(self, token: Tensor, state: TextState, memory: Memory) -> Step:
        """Read one token, at the first step the prompt's last. Extras hold the most probable tokens without masks."""
        first = state.pending >= 0
        tail = state.tail
        if tail.shape[1]:
            tail = torch.where(first.unsqueeze(1), tail, torch.cat([tail[:, 1:], token.unsqueeze(1)], 1))
        read = torch.where(first, state.pending, token)
        features, network = self.network(read.unsqueeze(1), LanguageModelState(state.hidden, state.cell))
        logits = self.network.logits(features.squeeze(1))
        times = token.shape[0] // max(1, memory.values.shape[0])
        rows = torch.arange(token.shape[0], device=token.device) // max(1, times)
        places = memory.auxiliary["places"]
        codes = places[rows, state.position.clamp(max=places.shape[1] - 1)]
        codes = self._apply_stop(codes, tail, memory.auxiliary["stop"][rows])
        norm = logits.logsumexp(1, keepdim=True)
        likeliest = logits.topk(min(LIKELIEST, logits.shape[1]), 1)
        masked = self._mask(logits, codes)
        extras = {
            "likeliest": likeliest.indices,
            "likeliest_log_probs": likeliest.values - norm,
            "allowed": (masked.logsumexp(1, keepdim=True) - norm).squeeze(1),
        }
        next_state = TextState(network.hidden, network.cell, torch.full_like(state.pending, -1), state.position + 1, tail)
        return Step(masked, next_state, extras=extras)

    def forward(self, memory: Memory, targets: Tensor) -> Tensor:
        """Teacher-forced logits (rows, steps, vocabulary)."""
        rows, steps = targets.shape
        times = rows // max(1, len(memory))
        state = self.start(memory, times)
        read = torch.cat([state.pending.unsqueeze(1), targets[:, 1:]], 1)
        features, _ = self.network(read, LanguageModelState(state.hidden, state.cell))
        places, stop = (memory.auxiliary[name].repeat_interleave(times, 0) for name in ("places", "stop"))
        at = torch.arange(steps, device=targets.device).clamp(max=places.shape[1] - 1)
        codes = places[:, at]
        if stop.shape[1]:
            tails = torch.cat([state.tail, targets[:, 1:]], 1).unfold(1, stop.shape[1], 1)
            codes = self._apply_stop(codes, tails, stop.unsqueeze(1))
        logits = self.network.logits(features)
        if bool((codes == FREE).all()):
            return logits
        return self._mask(logits.flatten(0, 1), codes.flatten()).view(logits.shape)

    def _apply_stop(self, codes: Tensor, tails: Tensor, stop: Tensor) -> Tensor:
        """Codes that allow only the end token where the latest tokens are the stop text."""
        if not stop.shape[-1]:
            return codes
        real = stop != ANY
        return torch.where(((tails == stop) | ~real).all(-1) & real.any(-1), self.vocabulary.eos, codes)

    def _mask(self, logits: Tensor, codes: Tensor) -> Tensor:
        """Logits (rows, vocabulary) with tokens masked that codes (rows,) don't allow."""
        allowed = self.allowed[(codes - FREE).clamp(max=SYLLABLE - FREE)]
        certain = (codes >= 0).unsqueeze(1)
        one = torch.arange(logits.shape[1], device=codes.device) == codes.unsqueeze(1)
        return logits.masked_fill(~((certain & one) | (~certain & allowed)), _FORBIDDEN)


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> TextModel:
    """The model of a manifest entry or a run, without its weights.

    Raises:
        UsageError: for unknown or impossible options.
    """
    parsed = check(TextConfig, config, source="text model")
    return TextModel(parsed, CharacterVocabulary.load(files[VOCABULARY_FILE]))
