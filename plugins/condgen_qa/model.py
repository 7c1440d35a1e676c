"""End-to-end memory networks (Sukhbaatar et al. 2015): a question looks several times at a story's sentences, then is answered.

Many such networks, differing in their first weights alone, are one model: every parameter has a leading dimension
``restarts``, and they are trained by the same kernels. An exported model has one.

A batch's sentences and questions are encoded once for each that is different, as one product of word weights and embeddings;
stories then are rows picked from the result. So the work doesn't grow with how often a sentence is repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.func import functional_call, vmap

from condgen_cli.errors import InputError
from condgen_cli.generation import AttentionMap, Axis, Generation
from condgen_cli.model import Item
from condgen_cli.nn.match import match_function
from condgen_cli.training import check
from condgen_qa.text import Question, as_written, bare, content_words, listed, names, tokens
from condgen_qa.vocabulary import StoryVocabulary

__all__ = ["VOCABULARY_FILE", "QaConfig", "QaModel", "Questions", "Read", "Stories", "build"]

VOCABULARY_FILE = "vocabulary.json"
TOP = 5
"""Answers that are told with their probabilities."""
TOLD = 8
"""Unknown words that are named in a warning."""
STD = 0.1
"""Of initial weights (Sukhbaatar et al. 2015, section 4.2)."""


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


class Stories(NamedTuple):
    """A batch of questions with their stories, as tensors.

    Args:
        words: (texts, longest) token ids of every different sentence and question; padding is -1.
        stories: (batch, sentences) rows of ``words``, the latest sentence first; padding is any row.
        times: (batch, sentences) how many sentences before the question each one stands, from 0.
        lengths: (batch,) sentences of each story.
        questions: (batch,) rows of ``words``.
    """

    words: Tensor
    stories: Tensor
    times: Tensor
    lengths: Tensor
    questions: Tensor


class Questions(NamedTuple):
    """What ``predict`` reads: tensors, and what they were made of.

    Args:
        stories: the tensors.
        sentences: of each item those in the memory, in the story's order.
        warnings: what the user should be told of each item.
        doubts: of the answer to each.
    """

    stories: Stories
    sentences: list[tuple[str, ...]]
    warnings: list[tuple[str, ...]]
    doubts: list[str]


class Read(NamedTuple):
    """What the networks make of a batch.

    Args:
        logits: (restarts, batch, answers).
        weights: (restarts, batch, hops, sentences) attention, the latest sentence first.
    """

    logits: Tensor
    weights: Tensor


class Sharing(NamedTuple):
    """Which of the embeddings a hop uses (Sukhbaatar et al. 2015, section 2.2).

    Args:
        sets: how many embeddings there are.
        question: the place of B.
        inputs, outputs: the places of A and C of each hop.
    """

    sets: int
    question: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @classmethod
    def of(cls, tying: str, hops: int) -> Sharing:
        if tying == "adjacent":
            return cls(hops + 1, 0, tuple(range(hops)), tuple(range(1, hops + 1)))
        if tying == "layerwise":
            return cls(3, 0, (1,) * hops, (2,) * hops)
        return cls(2 * hops + 1, 0, tuple(range(1, 2 * hops, 2)), tuple(range(2, 2 * hops + 1, 2)))


class QaModel(nn.Module):
    """The networks; implements ``condgen_cli.model.Model`` with ``predict``.

    Args:
        config: their options.
        vocabulary: what they read and answer.
    """

    def __init__(self, config: QaConfig, vocabulary: StoryVocabulary) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        self.sharing = Sharing.of(config.tying, config.hops)
        many, size, sets = config.restarts, config.embedding_size, self.sharing.sets
        self.embeddings = _normal(many, len(vocabulary), sets, size)
        if config.temporal:
            self.times = _normal(many, config.memory_size, sets, size)
        if config.encoding == "rnn":
            self.input = _normal(many, sets, size, 3 * size)
            self.recurrent = _normal(many, sets, size, 3 * size)
            self.bias = nn.Parameter(torch.zeros(many, sets, 1, 3 * size))
        if config.tying == "layerwise":
            self.between = _normal(many, size, size)
        if config.answer_hidden:
            self.hidden = _normal(many, size, config.answer_hidden)
            self.hidden_bias = nn.Parameter(torch.zeros(many, 1, config.answer_hidden))
        if config.answer_hidden or config.tying != "adjacent":
            self.answer = _normal(many, config.answer_hidden or size, len(vocabulary.answers))
        self.match = RestartedMatch(config.match, size, config.match_size, many)
        ramp = torch.arange(1, size + 1) / size
        self.register_buffer("ramp", ramp, persistent=False)
        self.register_buffer("answer_ids", torch.tensor(vocabulary.answer_ids), persistent=False)
        self.register_buffer("rectifying", torch.arange(size) < round(config.rectified * size), persistent=False)
        self._encoded: dict[str, list[int]] = {}

    ramp: Tensor
    answer_ids: Tensor
    rectifying: Tensor

    def forward(self, batch: Stories, linear: bool = False) -> Read:
        """Answer questions.

        Args:
            batch: the questions.
            linear: the attention is the scores themselves, without softmax (section 4.2, "linear start").
        """
        config, sharing = self.config, self.sharing
        encoded = self.encode(batch.words)  # (restarts, texts, sets, size)
        times = self.times if config.temporal else None
        memory = (_Shared if self.match.linear else _Gathered)(encoded, times, batch, self.match)
        mask = torch.arange(batch.stories.shape[1], device=batch.lengths.device) < batch.lengths[:, None]
        state = encoded[:, :, sharing.question].index_select(1, batch.questions)
        weights = []
        for given, taken in zip(sharing.inputs, sharing.outputs, strict=True):
            attention = _attention(memory.scores(state, given), mask, linear)
            found = memory.read(attention, taken)
            state = (state @ self.between if config.tying == "layerwise" else state) + found
            if config.rectified:
                state = torch.where(self.rectifying, state.relu(), state)
            weights.append(attention)
        return Read(self._logits(state), torch.stack(weights, 2))

    def encode(self, words: Tensor) -> Tensor:
        """Texts (texts, longest) as vectors (restarts, texts, sets, size), by every embedding."""
        return self._last_states(words) if self.config.encoding == "rnn" else self._sums(words)

    def _sums(self, words: Tensor) -> Tensor:
        """Weighted sums of words: all 1, or 2 l_kj = 2 ((1 - j/J) - (k/d)(1 - 2j/J)) for the j-th of J words.

        That is twice the paper's l_kj (section 4.1), so that weights are 1 on average here too: with half of it the paper's
        steps of gradient descent are too short for the attention to become sharp.

        l_kj is 1 - j/J plus k/d times a second such number: two matrices (texts, tokens) hold both for every word, whose
        product with embeddings and embeddings times k/d is the sum for all texts, embeddings and units at once.
        """
        known = words >= 0
        indices = words.clamp(min=0)
        embeddings: Tensor = self.embeddings
        if self.config.encoding == "bag":
            weights = _scattered(known.to(embeddings.dtype), indices, len(self.vocabulary))
        else:
            count = known.sum(1, keepdim=True).clamp(min=1)
            place = torch.arange(1, words.shape[1] + 1, device=words.device) / count
            parts = 2 * (1 - place) * known, 2 * (2 * place - 1) * known
            weights = torch.cat([_scattered(part, indices, len(self.vocabulary)) for part in parts], 1)
            embeddings = torch.cat([embeddings, embeddings * self.ramp], 1)
        return (weights @ embeddings.flatten(2)).view(len(embeddings), len(words), *embeddings.shape[2:])

    def _last_states(self, words: Tensor) -> Tensor:
        """A gated recurrent network (Cho et al. 2014) for each embedding."""
        many, size = self.config.restarts, self.config.embedding_size
        texts, longest = words.shape
        vectors = self.embeddings.index_select(1, words.clamp(min=0).flatten()).view(many, texts, longest, -1, size)
        inputs = vectors.permute(0, 3, 2, 1, 4).flatten(2, 3) @ self.input + self.bias
        state = inputs.new_zeros(many, self.sharing.sets, texts, size)
        steps = inputs.view(many, -1, longest, texts, 3 * size).unbind(2)
        for step, known in zip(steps, (words >= 0).unbind(1), strict=True):
            fresh, old = step.chunk(3, -1), (state @ self.recurrent).chunk(3, -1)
            reset, update = torch.sigmoid(fresh[0] + old[0]), torch.sigmoid(fresh[1] + old[1])
            following = torch.lerp(torch.tanh(fresh[2] + reset * old[2]), state, update)
            state = torch.where(known[:, None], following, state)
        return state.transpose(1, 2)

    def _logits(self, state: Tensor) -> Tensor:
        if self.config.answer_hidden:
            state = (state @ self.hidden + self.hidden_bias).relu()
        if hasattr(self, "answer"):
            return state @ self.answer
        return state @ self.embeddings[:, :, -1].index_select(1, self.answer_ids).transpose(1, 2)

    def collate(self, items: Sequence[Item]) -> Questions:
        """Tensors of the items' questions, and what to tell of each.

        Raises:
            InputError: if a story is empty, or no word of a question is known.
        """
        questions = [self._checked(item) for item in items]
        kept = [question.story[-self.config.memory_size :] for question in questions]
        table: dict[str, int] = {}
        rows = [[table.setdefault(sentence, len(table)) for sentence in reversed(story)] for story in kept]
        asked = [table.setdefault(question.text, len(table)) for question in questions]
        stories, lengths = padded(rows, 0)
        times = np.broadcast_to(np.arange(stories.shape[1]), stories.shape)
        words, _ = padded([self.ids(text) for text in table], -1)
        doubts = [self._doubt(question.text, story) for question, story in zip(questions, kept, strict=True)]
        tensors = (torch.tensor(part) for part in (words, stories, times, lengths, asked))
        return Questions(Stories(*tensors), kept, [self._warnings(question) for question in questions], doubts)

    @torch.no_grad()
    def predict(self, batch: Questions) -> list[Generation]:
        """The likeliest answer to each question, the likeliest five in ``details``, attention by hop and sentence."""
        read = self(batch.stories)
        log_probs = read.logits[0].log_softmax(-1)
        best, answers = (part.cpu().tolist() for part in log_probs.topk(min(TOP, log_probs.shape[-1])))
        weights = read.weights[0].flip(-1).cpu().numpy()  # in the story's order, padding first
        return [
            self._generation(*row)
            for row in zip(best, answers, weights, batch.sentences, batch.warnings, batch.doubts, strict=True)
        ]

    def _generation(
        self,
        log_probs: list[float],
        answers: list[int],
        weights: NDArray[np.float32],
        sentences: tuple[str, ...],
        warnings: tuple[str, ...],
        doubt: str,
    ) -> Generation:
        names = [self.vocabulary.answers[index] for index in answers]
        hops = Axis("hop", "hops", tuple(str(hop) for hop in range(1, len(weights) + 1)))
        places = Axis("sentence", "sentences", sentences)
        probabilities = np.exp(log_probs).round(6).tolist()
        return Generation(
            output=names[0],
            tokens=(names[0],),
            log_probs=np.array(log_probs[:1], np.float32),
            score=log_probs[0],
            attention={"attention": AttentionMap(weights[:, -len(sentences) :], (hops, places))},
            details={"answers": [{"answer": n, "probability": p} for n, p in zip(names, probabilities, strict=True)]},
            warnings=warnings,
            doubt=doubt,
        )

    def length(self, item: Item) -> int:
        """Sentences, by which batches are sorted."""
        return min(len(item.condition.story), self.config.memory_size)

    def condition(self, item: Item) -> None:
        return None

    def example(self) -> Item:
        """A story that fills the memory, for counting operations."""
        word = next(iter(self.vocabulary.words))
        return Item("example", Question((word,) * self.config.memory_size, word))

    def ids(self, text: str) -> list[int]:
        """Token ids of a text's known words. Texts repeat: they are kept."""
        found = self._encoded.get(text)
        if found is None:
            found = self.vocabulary.encode(tokens(text))
            if len(self._encoded) < 100_000:
                self._encoded[text] = found
        return found

    def _checked(self, item: Item) -> Question:
        question: Question = item.condition
        if not question.story:
            raise InputError("the story is empty", "a story is sentences that stand before the question")
        if not self.ids(question.text):
            words = self.vocabulary.unknown(tokens(question.text))
            near = list(dict.fromkeys(chain.from_iterable(map(self.vocabulary.near, words))))
            hint = f"words it knows: {', '.join(near or self.vocabulary.words[:8])}{'' if near else ', …'}"
            raise InputError(f"the model knows no word of the question {question.text!r}", hint)
        return question

    def _warnings(self, question: Question) -> tuple[str, ...]:
        story, kept = question.story, question.story[-self.config.memory_size :]
        told = []
        if len(story) > len(kept):
            left = len(story) - len(kept)
            told.append(
                f"the story has {len(story):,} sentences: the first {left:,} are left out, the memory holds {len(kept)}"
            )
        for where, texts in (("the story", kept), ("the question", (question.text,))):
            unknown = self.vocabulary.unknown(chain.from_iterable(map(tokens, texts)))
            if unknown:
                more = f" and {len(unknown) - TOLD} more" if len(unknown) > TOLD else ""
                told.append(f"unknown words in {where} are skipped: {', '.join(map(self._named, unknown[:TOLD]))}{more}")
        return tuple(told)

    def _doubt(self, question: str, story: Sequence[str]) -> str:
        """Why an answer is no more than a guess, given the sentences that the memory holds; empty if it need not be one."""
        told = {bare(word) for sentence in story for word in tokens(sentence)}
        asked = content_words(question)
        if asked and len(self.vocabulary.unknown(asked)) == len(asked):
            return f"a guess: the model doesn't know {listed(as_written(asked, question))}"
        missing = [name for name in names(question) if bare(name.lower()) not in told]
        if not missing and asked and not told.intersection(map(bare, asked)):
            missing = asked
        if missing:
            return f"a guess: the story never mentions {listed(as_written(missing, question))}"
        words = [word for sentence in story for word in content_words(sentence)]
        unknown = len([word for word in words if self.vocabulary.unknown([word])])
        if 2 * unknown > len(words):
            return f"a guess: the model doesn't know {unknown} of the story's {len(words)} words"
        return ""

    def _named(self, word: str) -> str:
        """An unknown word with the known ones that look like it."""
        near = self.vocabulary.near(word)
        return f"{word} (known: {', '.join(near)})" if near else word


class _Gathered:
    """A memory with a vector for every sentence of every story.

    Args:
        encoded: (restarts, texts, sets, size).
        times: (restarts, memory_size, sets, size), added by a sentence's distance; None for none.
        batch: says which texts and times the stories have.
        match: the match function.
    """

    def __init__(self, encoded: Tensor, times: Tensor | None, batch: Stories, match: RestartedMatch) -> None:
        vectors = encoded.index_select(1, batch.stories.flatten())
        if times is not None:
            vectors = vectors + times.index_select(1, batch.times.flatten())
        self.vectors = vectors.view(len(encoded), *batch.stories.shape, *encoded.shape[2:]).unbind(3)
        self.match = match

    def scores(self, query: Tensor, given: int) -> Tensor:
        """Of queries (restarts, batch, size) and their sentences: (restarts, batch, sentences)."""
        return self.match(query.unsqueeze(2), self.vectors[given]).squeeze(2)

    def read(self, weights: Tensor, taken: int) -> Tensor:
        """The sentences' vectors, weighted (restarts, batch, sentences): (restarts, batch, size)."""
        return (weights.unsqueeze(2) @ self.vectors[taken]).squeeze(2)


class _Shared:
    """The same memory where scores are linear in the vectors, so that none is ever made for a sentence of a story: a query is
    scored against every different text and every time, a sentence's score is the sum of two of these, and its weight is given
    to its text and to its time. A tenth of the memory traffic, and less with more restarts.

    Args as of ``_Gathered``.
    """

    def __init__(self, encoded: Tensor, times: Tensor | None, batch: Stories, match: RestartedMatch) -> None:
        table = encoded if times is None else torch.cat([encoded, times], 1)
        self.vectors = table.unbind(2)
        places = [batch.stories] if times is None else [batch.stories, batch.times + encoded.shape[1]]
        self.index = torch.cat(places, 1).expand(len(encoded), -1, -1)
        self.parts = len(places)
        self.match = match

    def scores(self, query: Tensor, given: int) -> Tensor:
        scores = self.match(query.unsqueeze(1), self.vectors[given].unsqueeze(1)).squeeze(1)
        return scores.gather(2, self.index).view(*scores.shape[:2], self.parts, -1).sum(2)

    def read(self, weights: Tensor, taken: int) -> Tensor:
        vectors = self.vectors[taken]
        spread = weights.new_zeros(*weights.shape[:2], vectors.shape[1])
        return spread.scatter_add(2, self.index, weights.repeat(1, 1, self.parts)) @ vectors


class RestartedMatch(nn.Module):
    """A match function with parameters of its own for each restart.

    Args:
        name: of the match function.
        size: of queries and values.
        hidden_size: of its own layer.
        restarts: how many.
    """

    def __init__(self, name: str, size: int, hidden_size: int, restarts: int) -> None:
        super().__init__()
        functions = [_Scores(name, size, hidden_size) for _ in range(restarts)]
        # a list hides it from the module: its parameters are the stacked ones
        self._function = [functions[0].requires_grad_(False)]
        self.linear = bool(functions[0].match.linear)
        stacked = {
            name: torch.stack([dict(function.named_parameters())[name].detach() for function in functions])
            for name, _ in functions[0].named_parameters()
        }
        self.names = list(stacked)
        for name, parameter in stacked.items():
            self.register_parameter(name.replace(".", "_"), nn.Parameter(parameter))

    def forward(self, query: Tensor, values: Tensor) -> Tensor:
        """Scores (restarts, batch, queries, positions) of queries (restarts, batch, queries, size) and values (restarts, batch,
        positions, size)."""
        (function,) = self._function
        if not self.names:
            scores: Tensor = function(query.flatten(0, 1), values.flatten(0, 1))
            return scores.view(*query.shape[:2], *scores.shape[1:])
        parameters = {name: self.get_parameter(name.replace(".", "_")) for name in self.names}
        each = vmap(lambda own, q, v: functional_call(function, own, (q, v)))
        found: Tensor = each(parameters, query, values)
        return found


class _Scores(nn.Module):
    """A match function with its keys made at once, as a module, so that its parameters can be replaced by name."""

    def __init__(self, name: str, size: int, hidden_size: int) -> None:
        super().__init__()
        self.match = match_function(name, size, size, hidden_size)

    def forward(self, query: Tensor, values: Tensor) -> Tensor:
        scores: Tensor = self.match(query, self.match.keys(values))
        return scores


def _attention(scores: Tensor, mask: Tensor, linear: bool) -> Tensor:
    """Scores (restarts, batch, sentences) as weights: their softmax; if ``linear`` themselves."""
    return scores * mask if linear else scores.masked_fill(~mask, -torch.inf).softmax(-1)


def _scattered(weights: Tensor, indices: Tensor, tokens: int) -> Tensor:
    """Weights (texts, longest) added up by token: (texts, tokens)."""
    return weights.new_zeros(len(weights), tokens).scatter_add_(1, indices, weights)


def _normal(*shape: int) -> nn.Parameter:
    return nn.Parameter(nn.init.normal_(torch.empty(shape), std=STD))


def padded(rows: Sequence[Iterable[int]], padding: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of different lengths as (rows, longest), and the lengths (rows,)."""
    lists = [list(row) for row in rows]
    lengths = np.array([len(row) for row in lists])
    table = np.full((len(lists), lengths.max(initial=1)), padding)
    table[np.arange(table.shape[1]) < lengths[:, None]] = np.fromiter(chain.from_iterable(lists), np.int64, lengths.sum())
    return table, lengths


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> QaModel:
    """A model as its manifest describes it, without weights."""
    return QaModel(check(QaConfig, dict(config), "model"), StoryVocabulary.load(files[VOCABULARY_FILE]))
