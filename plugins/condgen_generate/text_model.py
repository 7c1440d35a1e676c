"""A character language model that continues a prompt, or writes poems in a form.

Its network is ``condgen_cli.nn.LanguageModel``: layers of LSTM (Mikolov et al. 2010; Zaremba et al. 2014), optionally
with the output matrix tied to the embedding (Press and Wolf 2017). Constraints on the text are masks on the logits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from condgen_cli.data.script import to_simplified, to_traditional
from condgen_cli.errors import InputError, UsageError
from condgen_cli.generation import Generation
from condgen_cli.item import Item
from condgen_cli.model import Memory, SequenceModel, Step
from condgen_cli.nn import LanguageModel
from condgen_cli.nn.language_model import LanguageModelState
from condgen_cli.running.decoding import Hypothesis
from condgen_cli.training import check
from condgen_generate.prompt import Prompt
from condgen_generate.verse import COMMA, FORMS, PERIOD, guess_form, plan
from condgen_generate.vocabulary import CharacterVocabulary

__all__ = ["VOCABULARY_FILE", "Prompts", "TextConfig", "TextModel", "TextState", "build"]

VOCABULARY_FILE = "vocabulary.json"
LIKELIEST = 5
"""Most probable tokens reported at each step."""

# codes of the tokens allowed at a place, unless it is a certain token; also indices from the end of ``TextModel.allowed``
_FREE = -4
"""Any token, the unknown one included: for scoring given texts."""
_OPEN = -3
"""Any known character, or the end token."""
_INSIDE = -2
"""Any known character."""
_SYLLABLE = -1
"""Any known character except punctuation."""

_ANY = -9
"""Padding before a stop text that is shorter than others of the batch; matches any token."""
_FORBIDDEN = -1e4
"""Logit of a token that isn't allowed; finite, so that a text can end anywhere at the length limit."""
_LENGTH = 500
"""Default length of a text, in characters."""


class TextConfig(BaseModel):
    """Options of the text model.

    Args:
        kind: ``stream`` is a model of one long text, which it continues; ``verse`` of poems, each after a token for its form.
        embedding_size: size of character embeddings.
        hidden_size: units of each layer.
        layers: number of LSTM layers.
        tied: whether the output matrix is tied to the embedding.
        dropout: dropout on embeddings, between layers and on the output.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["stream", "verse"] = "stream"
    embedding_size: int = Field(128, ge=1)
    hidden_size: int = Field(512, ge=1)
    layers: int = Field(2, ge=1)
    tied: bool = False
    dropout: float = Field(0.3, ge=0, lt=1)

    def make(self, vocabulary_size: int) -> LanguageModel:
        """The network."""
        return LanguageModel(vocabulary_size, self.embedding_size, self.hidden_size, self.layers, self.dropout, tied=self.tied)


class Prompts(NamedTuple):
    """A batch of prompts.

    Args:
        tokens: (batch, longest) tokens of the prompts without their last one, padded.
        lengths: (batch,) numbers of these tokens, on the CPU; may be 0.
        last: (batch,) last token of each prompt, which the first step reads.
        places: (batch, places) the required token at each place of the output, or a code below 0; the last one applies to all
            places after it.
        stop: (batch, longest) stop text, padded at the beginning.
    """

    tokens: Tensor
    lengths: Tensor
    last: Tensor
    places: Tensor
    stop: Tensor


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


class TextModel(SequenceModel):
    """Continues a prompt character by character; the memory has no positions.

    A poem begins with its form as a control token in place of ``bos``, a stream with a line end.

    Args:
        config: options.
        vocabulary: vocabulary of characters; for verse with the forms as control tokens.
    """

    vocabulary: CharacterVocabulary
    copies_unknown = True
    repeats = True
    allowed: Tensor

    def __init__(self, config: TextConfig, vocabulary: CharacterVocabulary) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        self.network = config.make(len(vocabulary))
        allowed = torch.zeros(-_FREE, len(vocabulary), dtype=torch.bool)
        allowed[_FREE] = True
        allowed[_OPEN:, vocabulary.first :] = True
        allowed[_OPEN, vocabulary.eos] = True
        allowed[_SYLLABLE, vocabulary.encode(COMMA + PERIOD)] = False
        self.register_buffer("allowed", allowed, persistent=False)

    def example(self) -> Item:
        """An example item, for inspecting the architecture."""
        verse = self.config.kind == "verse"
        return Item("example", Prompt(form=FORMS[1] if verse else None, exact=True))

    def targets(self, text: str) -> list[int]:
        """The target tokens of a text; a stream has no end token."""
        ids = self.vocabulary.encode(text)
        return [*ids, self.vocabulary.eos] if self.config.kind == "verse" else ids

    def collate(self, items: Sequence[Item]) -> Prompts:
        """A batch of prompts.

        Raises:
            InputError: if a prompt doesn't fit the model or the form.
        """
        prompts = [self._prompt(item) for item in items]
        read = [self._read(prompt) for prompt in prompts]
        stops = [self.vocabulary.encode(prompt.stop) for prompt in prompts]
        return Prompts(
            _pad([ids[:-1] for ids in read], self.vocabulary.pad),
            torch.tensor([len(ids) - 1 for ids in read]),
            torch.tensor([ids[-1] for ids in read]),
            _pad([self._places(prompt) for prompt in prompts], self.vocabulary.eos),
            _pad([ids[::-1] for ids in stops], _ANY).flip(1),
        )

    def encode(self, batch: Prompts) -> Memory:
        """The state after each prompt, as auxiliary tensors."""
        device = self.network.bias.device
        rows = len(batch.last)
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
        tail = pending.new_full((len(pending), memory.auxiliary["stop"].shape[1]), -1)
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
        times = len(token) // max(1, len(memory))
        rows = torch.arange(len(token), device=token.device) // max(1, times)
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
        if bool((codes == _FREE).all()):
            return logits
        return self._mask(logits.flatten(0, 1), codes.flatten()).view(logits.shape)

    def write(self, hypothesis: Hypothesis, item: Item) -> str:
        """The text with its prompt. Given characters are kept even if the model doesn't know them."""
        prompt, vocabulary = self._prompt(item), self.vocabulary
        ids = [index for index in hypothesis.ids if index != vocabulary.eos]
        if self.config.kind == "stream":
            text = vocabulary.decode(ids)
            return prompt.text + (text.removesuffix(prompt.stop) if prompt.stop else text)
        given = self._given_characters(prompt)
        asked = [*given, *[None] * (len(ids) - len(given))]
        text = "".join(one or vocabulary.decode([index]) for one, index in zip(asked, ids, strict=False))
        return to_simplified(text) if prompt.simplified else text

    def finish(self, generation: Generation, hypothesis: Hypothesis, item: Item) -> Generation:
        """The generation with the most probable tokens of each step, and a warning about unknown characters of the prompt."""
        prompt, vocabulary = self._prompt(item), self.vocabulary

        def show(index: int) -> str:
            token = vocabulary.token(index)
            return to_simplified(token) if prompt.simplified and self.config.kind == "verse" else token

        columns = zip(
            hypothesis.ids,
            hypothesis.log_probs,
            hypothesis.extras["allowed"],
            hypothesis.extras["likeliest"].astype(int),
            hypothesis.extras["likeliest_log_probs"],
            strict=True,
        )
        steps = []
        for index, log_prob, allowed, likeliest, log_probs in columns:
            if index == vocabulary.eos and self.config.kind == "stream":
                continue  # only marks that the length is reached
            whole = min(0.0, float(log_prob) + min(0.0, float(allowed)))
            others = [
                {"token": show(other), "probability": round(math.exp(one), 6)}
                for other, one in zip(likeliest.tolist(), log_probs.tolist(), strict=True)
            ]
            steps.append(
                {
                    "token": show(index),
                    "probability": round(math.exp(whole), 6),
                    "bits": round(-whole / math.log(2), 4) + 0.0,
                    "likeliest": others,
                }
            )
        given = prompt.text + prompt.acrostic
        unknown = vocabulary.unknown(given)
        warnings = (f"the model does not know {' '.join(unknown)}, and reads it as an unknown character",) if unknown else ()
        return replace(generation, details={"steps": steps}, warnings=warnings)

    def _prompt(self, item: Item) -> Prompt:
        """The item's prompt with defaults filled in; for verse without blanks and in traditional characters, as in training.

        Raises:
            InputError, UsageError: if the prompt doesn't fit the model.
        """
        prompt = item.condition
        verse = self.config.kind == "verse"
        if isinstance(prompt, str):
            prompt = Prompt(prompt, exact=True)
        if not isinstance(prompt, Prompt):
            raise InputError(f"{item.source or item.id} is not a text")
        if not verse:
            if prompt.form or prompt.acrostic:
                raise UsageError("the model doesn't write poems: it can't use a form or an acrostic", "-m poem")
            if "--script" in prompt.flags:
                raise UsageError("the model doesn't write poems: it can't use --script", "-m poem")
            if prompt.stop and (unknown := self.vocabulary.unknown(prompt.stop)):
                raise InputError(f"the model can't write {''.join(unknown)!r}, so the stop text would never occur")
            return prompt._replace(length=prompt.length or _LENGTH) if prompt.exact else prompt
        if prompt.stop or (prompt.exact and prompt.length):
            raise UsageError("a poem ends with its form: --length and --stop can't be used")
        opening, acrostic = ("".join(one.split()) for one in (prompt.text, prompt.acrostic))
        if prompt.simplified:
            opening, acrostic = to_traditional(opening), to_traditional(acrostic)
        return prompt._replace(text=opening, acrostic=acrostic, form=prompt.form or guess_form(opening, acrostic))

    def _read(self, prompt: Prompt) -> list[int]:
        """The tokens before the first output token; not empty."""
        if self.config.kind == "verse":
            assert prompt.form is not None
            return [self.vocabulary.control(prompt.form.name)]
        return self.vocabulary.encode("\n" + prompt.text)

    def _given_characters(self, prompt: Prompt) -> list[str | None]:
        """The given character at each place of a poem, None where there is none."""
        if not prompt.exact:
            return [*prompt.text]
        assert prompt.form is not None
        return plan(prompt.form, prompt.text, prompt.acrostic)

    def _places(self, prompt: Prompt) -> list[int]:
        """Codes of the tokens allowed at each place, the end last; ``_FREE`` alone without constraints."""
        vocabulary = self.vocabulary
        if self.config.kind == "stream":
            return [*[_INSIDE] * prompt.length, vocabulary.eos] if prompt.length else [_FREE]
        given = [_SYLLABLE if one is None else vocabulary.encode(one)[0] for one in self._given_characters(prompt)]
        if prompt.exact:
            return [*given, vocabulary.eos]
        return [*given, *[_OPEN] * (prompt.length - len(given)), vocabulary.eos] if prompt.length else [_FREE]

    def _apply_stop(self, codes: Tensor, tails: Tensor, stop: Tensor) -> Tensor:
        """Codes that allow only the end token where the latest tokens are the stop text."""
        if not stop.shape[-1]:
            return codes
        real = stop != _ANY
        return torch.where(((tails == stop) | ~real).all(-1) & real.any(-1), self.vocabulary.eos, codes)

    def _mask(self, logits: Tensor, codes: Tensor) -> Tensor:
        """Logits (rows, vocabulary) with tokens masked that codes (rows,) don't allow."""
        allowed = self.allowed[(codes - _FREE).clamp(max=_SYLLABLE - _FREE)]
        certain = codes >= 0
        one = torch.zeros_like(allowed).scatter_(1, codes.clamp(min=0).unsqueeze(1), True)
        return logits.masked_fill(~torch.where(certain.unsqueeze(1), one, allowed), _FORBIDDEN)


def _pad(rows: Sequence[Sequence[int]], pad: int) -> Tensor:
    """Token ids padded to (rows, longest)."""
    tokens = torch.full((len(rows), max(map(len, rows), default=0)), pad)
    for row, ids in enumerate(rows):
        tokens[row, : len(ids)] = torch.tensor(ids, dtype=torch.int64)
    return tokens


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> TextModel:
    """The model of a manifest entry or a run, without its weights.

    Raises:
        UsageError: for unknown or impossible options.
    """
    parsed = check(TextConfig, config, source="text model")
    return TextModel(parsed, CharacterVocabulary.load(files[VOCABULARY_FILE]))
