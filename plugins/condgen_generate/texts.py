"""What a text model is besides its network: options, reading prompts, constraints on the text, writing it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from condgen_cli.arrays import Array
from condgen_cli.contract import SequenceContract
from condgen_cli.data.script import to_simplified, to_traditional
from condgen_cli.errors import InputError, UsageError
from condgen_cli.generation import Generation
from condgen_cli.item import Item
from condgen_cli.running.backends.onnx import GraphModel, Graphs
from condgen_cli.running.decoding import Hypothesis
from condgen_cli.training import check
from condgen_generate.prompt import Prompt
from condgen_generate.verse import FORMS, guess_form, plan
from condgen_generate.vocabulary import CharacterVocabulary

__all__ = [
    "ANY",
    "FREE",
    "INSIDE",
    "OPEN",
    "SYLLABLE",
    "VOCABULARY_FILE",
    "Prompts",
    "TextConfig",
    "Writer",
    "build_graphs",
]

VOCABULARY_FILE = "vocabulary.json"

# codes of the tokens allowed at a place, unless it is a certain token; also indices from the end of a table of them
FREE = -4
"""Any token, the unknown one included: for scoring given texts."""
OPEN = -3
"""Any known character, or the end token."""
INSIDE = -2
"""Any known character."""
SYLLABLE = -1
"""Any known character except punctuation."""

ANY = -9
"""Padding before a stop text that is shorter than others of the batch; matches any token."""
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


class Prompts(NamedTuple):
    """A batch of prompts, as arrays of either backend.

    Args:
        tokens: (batch, longest) tokens of the prompts without their last one, padded.
        lengths: (batch,) numbers of these tokens, on the CPU; may be 0.
        last: (batch,) last token of each prompt, which the first step reads.
        places: (batch, places) the required token at each place of the output, or a code below 0; the last one applies to all
            places after it.
        stop: (batch, longest) stop text, padded at the beginning.
    """

    tokens: Array
    lengths: Array
    last: Array
    places: Array
    stop: Array


class Writer(SequenceContract):
    """Reads prompts and writes what continues them, without what lies between: the network.

    A poem begins with its form as a control token in place of ``bos``, a stream with a line end.

    Attributes:
        config: options.
        vocabulary: vocabulary of characters; for verse with the forms as control tokens.
    """

    config: TextConfig
    vocabulary: CharacterVocabulary
    copies_unknown = True
    repeats = True

    def example(self) -> Item:
        """An example item, for inspecting the architecture."""
        verse = self.config.kind == "verse"
        return Item("example", Prompt(form=FORMS[1] if verse else None, exact=True))

    def examples(self) -> list[Item]:
        """Prompts of different lengths, with stop texts if the model can have them."""
        if self.config.kind == "verse":
            return [Item("long", Prompt(form=FORMS[-1], exact=True)), Item("short", Prompt(form=FORMS[0], exact=True))]
        text = "".join(self.vocabulary.characters[:9])
        long, short = Prompt(text, length=5, exact=True, stop=text[:3]), Prompt(text[:2], length=3, exact=True, stop=text[:2])
        return [Item("long", long), Item("short", short)]

    def targets(self, text: str) -> list[int]:
        """The target tokens of a text; a stream has no end token."""
        ids = self.vocabulary.encode(text)
        return [*ids, self.vocabulary.eos] if self.config.kind == "verse" else ids

    def collate(self, items: Sequence[Item]) -> Prompts:
        """A batch of prompts, in NumPy arrays.

        Raises:
            InputError: if a prompt doesn't fit the model or the form.
        """
        prompts = [self._prompt(item) for item in items]
        read = [self._read(prompt) for prompt in prompts]
        stops = [self.vocabulary.encode(prompt.stop) for prompt in prompts]
        return Prompts(
            _pad([ids[:-1] for ids in read], self.vocabulary.pad),
            np.array([len(ids) - 1 for ids in read]),
            np.array([ids[-1] for ids in read]),
            _pad([self._places(prompt) for prompt in prompts], self.vocabulary.eos),
            _pad([ids[::-1] for ids in stops], ANY)[:, ::-1].copy(),
        )

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
        """Codes of the tokens allowed at each place, the end last; ``FREE`` alone without constraints."""
        vocabulary = self.vocabulary
        if self.config.kind == "stream":
            return [*[INSIDE] * prompt.length, vocabulary.eos] if prompt.length else [FREE]
        given = [SYLLABLE if one is None else vocabulary.encode(one)[0] for one in self._given_characters(prompt)]
        if prompt.exact:
            return [*given, vocabulary.eos]
        return [*given, *[OPEN] * (prompt.length - len(given)), vocabulary.eos] if prompt.length else [FREE]


class TextGraphs(Writer, GraphModel):
    """A text model that ONNX Runtime computes."""

    def __init__(self, config: TextConfig, vocabulary: CharacterVocabulary, graphs: Graphs) -> None:
        super().__init__(graphs)
        self.config = config
        self.vocabulary = vocabulary


def _pad(rows: Sequence[Sequence[int]], pad: int) -> NDArray[np.int64]:
    """Token ids padded to (rows, longest), at least one column, so that graphs need no case for none."""
    tokens = np.full((len(rows), max(1, *map(len, rows))), pad)
    for row, ids in enumerate(rows):
        tokens[row, : len(ids)] = ids
    return tokens


def build_graphs(config: Mapping[str, Any], files: Mapping[str, Path], graphs: Graphs) -> TextGraphs:
    """The model of a manifest entry that has graphs.

    Raises:
        UsageError: for unknown or impossible options.
    """
    parsed = check(TextConfig, config, source="text model")
    return TextGraphs(parsed, CharacterVocabulary.load(files[VOCABULARY_FILE]), graphs)
