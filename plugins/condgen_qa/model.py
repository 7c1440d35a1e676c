"""End-to-end memory networks (Sukhbaatar et al. 2015): several hops of attention over a story's sentences, then an answer.

Several networks that differ only in their initial weights are trained side by side: every parameter has a leading dimension
``restarts``. An exported model has one.

Each different sentence or question of a batch is encoded once, in one product of word weights and embeddings; stories index
the result. So the cost doesn't grow with how often a sentence is repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from condgen_cli.errors import UsageError
from condgen_cli.generation import AttentionMap, Axis, Generation
from condgen_cli.model import Item, Predictor
from condgen_cli.training import check
from condgen_qa.config import QaConfig
from condgen_qa.doubts import check_question, find_doubt, find_warnings
from condgen_qa.match import RestartedMatch
from condgen_qa.memory import GatheredMemory, SharedMemory, attention_weights
from condgen_qa.stories import Questions, Stories, pad_rows
from condgen_qa.text import Question, tokens
from condgen_qa.vocabulary import StoryVocabulary

__all__ = ["VOCABULARY_FILE", "QaModel", "Read", "build"]

VOCABULARY_FILE = "vocabulary.json"
TOP = 5
"""Answers reported with their probabilities."""
STD = 0.1
"""Standard deviation of initial weights (Sukhbaatar et al. 2015, section 4.2)."""


class Read(NamedTuple):
    """Outputs of the networks for a batch.

    Args:
        logits: (restarts, batch, answers).
        weights: (restarts, batch, hops, sentences) attention weights, the latest sentence first.
    """

    logits: Tensor
    weights: Tensor


class Sharing(NamedTuple):
    """Which embedding each part of the network uses (Sukhbaatar et al. 2015, section 2.2).

    Args:
        sets: number of embeddings.
        question: index of the question embedding B.
        inputs, outputs: indices of the input and output embeddings A and C of each hop.
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


class QaModel(Predictor):
    """End-to-end memory networks, one per restart.

    Args:
        config: options.
        vocabulary: words and answers.
    """

    vocabulary: StoryVocabulary

    def __init__(self, config: QaConfig, vocabulary: StoryVocabulary) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        self.sharing = Sharing.of(config.tying, config.hops)
        many, size, sets = config.restarts, config.embedding_size, self.sharing.sets
        self.embeddings = _draw_parameter(many, len(vocabulary), sets, size)
        if config.temporal:
            self.times = _draw_parameter(many, config.memory_size, sets, size)
        if config.encoding == "rnn":
            self.input = _draw_parameter(many, sets, size, 3 * size)
            self.recurrent = _draw_parameter(many, sets, size, 3 * size)
            self.bias = nn.Parameter(torch.zeros(many, sets, 1, 3 * size))
        if config.tying == "layerwise":
            self.between = _draw_parameter(many, size, size)
        if config.answer_hidden:
            self.hidden = _draw_parameter(many, size, config.answer_hidden)
            self.hidden_bias = nn.Parameter(torch.zeros(many, 1, config.answer_hidden))
        if config.has_answer_matrix:
            self.answer = _draw_parameter(many, config.answer_hidden or size, len(vocabulary.answers))
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
            batch: questions with their stories.
            linear: whether attention weights are the scores themselves, without softmax (section 4.2, "linear start").
        """
        config, sharing = self.config, self.sharing
        encoded = self.encode(batch.words)  # (restarts, texts, sets, size)
        times = self.times if config.temporal else None
        memory = (SharedMemory if self.match.linear else GatheredMemory)(encoded, times, batch, self.match)
        mask = torch.arange(batch.stories.shape[1], device=batch.lengths.device) < batch.lengths[:, None]
        state = encoded[:, :, sharing.question].index_select(1, batch.questions)
        weights = []
        for key, value in zip(sharing.inputs, sharing.outputs, strict=True):
            attention = attention_weights(memory.scores(state, key), mask, linear)
            found = memory.read(attention, value)
            state = (state @ self.between if config.tying == "layerwise" else state) + found
            if config.rectified:
                state = torch.where(self.rectifying, state.relu(), state)
            weights.append(attention)
        return Read(self._logits(state), torch.stack(weights, 2))

    def encode(self, words: Tensor) -> Tensor:
        """Vectors (restarts, texts, sets, size) of texts (texts, longest) by every embedding."""
        return self._last_states(words) if self.config.encoding == "rnn" else self._sums(words)

    def _sums(self, words: Tensor) -> Tensor:
        """Weighted sums of word embeddings.

        Weights are 1, or with position encoding 2 l_kj = 2 ((1 - j/J) - (k/d)(1 - 2j/J)) for the j-th of J words. That is twice
        the paper's l_kj (section 4.1), so that weights are 1 on average: with half of it the paper's learning rate is too small
        for the attention to become sharp.

        l_kj is 1 - j/J plus k/d times (2j/J - 1): two matrices (texts, tokens) hold these numbers for every word, and their
        product with the embeddings and with the embeddings times k/d gives the sums of all texts, embeddings and units at once.
        """
        known = words >= 0
        indices = words.clamp(min=0)
        embeddings: Tensor = self.embeddings
        if self.config.encoding == "bag":
            weights = _sum_by_token(known.to(embeddings.dtype), indices, len(self.vocabulary))
        else:
            count = known.sum(1, keepdim=True).clamp(min=1)
            place = torch.arange(1, words.shape[1] + 1, device=words.device) / count
            parts = 2 * (1 - place) * known, 2 * (2 * place - 1) * known
            weights = torch.cat([_sum_by_token(part, indices, len(self.vocabulary)) for part in parts], 1)
            embeddings = torch.cat([embeddings, embeddings * self.ramp], 1)
        return (weights @ embeddings.flatten(2)).view(len(embeddings), len(words), *embeddings.shape[2:])

    def _last_states(self, words: Tensor) -> Tensor:
        """Last states of a gated recurrent network (Cho et al. 2014) for each embedding."""
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
        if self.config.has_answer_matrix:
            return state @ self.answer
        return state @ self.embeddings[:, :, -1].index_select(1, self.answer_ids).transpose(1, 2)

    def collate(self, items: Sequence[Item]) -> Questions:
        """Tensors of the items' questions, with warnings and doubts.

        Raises:
            InputError: if a story is empty, or no word of a question is known.
        """
        questions: list[Question] = [item.condition for item in items]
        for question in questions:
            check_question(question, self.vocabulary)
        kept = [question.story[-self.config.memory_size :] for question in questions]
        table: dict[str, int] = {}
        rows = [[table.setdefault(sentence, len(table)) for sentence in reversed(story)] for story in kept]
        asked = [table.setdefault(question.text, len(table)) for question in questions]
        stories, lengths = pad_rows(rows, 0)
        times = np.broadcast_to(np.arange(stories.shape[1]), stories.shape)
        words, _ = pad_rows([self.ids(text) for text in table], -1)
        doubts = [find_doubt(one.text, story, self.vocabulary) for one, story in zip(questions, kept, strict=True)]
        warnings = [find_warnings(question, self.config.memory_size, self.vocabulary) for question in questions]
        tensors = (torch.tensor(part) for part in (words, stories, times, lengths, asked))
        return Questions(Stories(*tensors), kept, warnings, doubts)

    @torch.no_grad()
    def predict(self, batch: Questions) -> list[Generation]:
        """The most probable answer to each question, the five most probable in ``details``, attention by hop and sentence."""
        read = self(batch.stories)
        log_probs = read.logits[0].log_softmax(-1)
        best, answers = (part.cpu().tolist() for part in log_probs.topk(min(TOP, log_probs.shape[-1])))
        weights = read.weights[0].flip(-1).cpu().numpy()  # in the story's order, padding first
        return [
            self._generation(*row)
            for row in zip(best, answers, weights, batch.sentences, batch.warnings, batch.doubts, strict=True)
        ]

    def parts(self, item: Item) -> tuple[Axis, ...]:
        """The sentences that are read."""
        return (Axis("sentence", "sentences", item.condition.story[-self.config.memory_size :]),)

    def occlude(self, item: Item, hidden: NDArray[np.bool_]) -> list[Item]:
        """Copies of the story with sentences emptied, so that the others keep their places in time."""
        story = np.array(item.condition.story[-self.config.memory_size :], dtype=object)
        stories = [tuple(np.where(row, "", story)) for row in hidden]
        return [replace(item, condition=item.condition._replace(story=one)) for one in stories]

    @torch.no_grad()
    def score(self, batch: Questions, outputs: Sequence[Sequence[str]]) -> list[NDArray[np.float32]]:
        """Log-probabilities (1,) of answers.

        Raises:
            UsageError: if the model doesn't know one.
        """
        places = []
        for answer in map(" ".join, outputs):
            if answer not in self.vocabulary.answers:
                raise UsageError(f"the model has no answer {answer!r}", f"it has: {', '.join(self.vocabulary.answers)}")
            places.append(self.vocabulary.answers.index(answer))
        log_probs = self(batch.stories).logits[0].log_softmax(-1)
        rows = torch.arange(len(places), device=log_probs.device)
        return list(log_probs[rows, torch.tensor(places, device=log_probs.device)].unsqueeze(1).cpu().numpy())

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
        """Number of sentences read, by which batches are sorted."""
        return min(len(item.condition.story), self.config.memory_size)

    def example(self) -> Item:
        """A story that fills the memory, for counting operations."""
        word = next(iter(self.vocabulary.words))
        return Item("example", Question((word,) * self.config.memory_size, word))

    def ids(self, text: str) -> list[int]:
        """Token ids of a text's known words; cached, since texts repeat."""
        found = self._encoded.get(text)
        if found is None:
            found = self.vocabulary.encode(tokens(text))
            if len(self._encoded) < 100_000:
                self._encoded[text] = found
        return found


def _sum_by_token(weights: Tensor, indices: Tensor, tokens: int) -> Tensor:
    """Weights (texts, longest) summed by token: (texts, tokens)."""
    return weights.new_zeros(len(weights), tokens).scatter_add_(1, indices, weights)


def _draw_parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(nn.init.normal_(torch.empty(shape), std=STD))


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> QaModel:
    """The model of a manifest entry or a run, without its weights."""
    return QaModel(check(QaConfig, dict(config), "model"), StoryVocabulary.load(files[VOCABULARY_FILE]))
