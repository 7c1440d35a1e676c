"""Decoding: greedy, beam search and sampling, one implementation for every sequence model.

Rows of one input lie together, so that a decoder reads each memory row for all its rows at once (see ``model.SequenceModel``).
An input that is finished leaves the batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from condgen_cli.errors import UsageError
from condgen_cli.model import Memory, Model, SequenceModel, Step, select_state
from condgen_cli.nn.denormals import flush_denormals
from condgen_cli.running.limits import LARGEST_PENALTY, LONGEST_OUTPUT, MOST_SAMPLES, TEMPERATURES, WIDEST_BEAM
from condgen_cli.running.randomness import Uniforms, fresh_keys

__all__ = ["Decoding", "Hypothesis", "Scorer", "decode", "force", "reweighted"]

WIDE = 32
"""A beam from which on inputs are searched one after the other: it is a batch by itself, and several would take memory for
nothing."""
SECOND = 4
"""Hypotheses of an input that a second pass judges."""
HOPELESS = 1000.0
"""A token that scores so much less than another can't be written in its place."""
BLOCK = 64
"""Tokens of the vocabulary that the search for the best looks at together."""


@dataclass(frozen=True)
class Decoding:
    """How to decode.

    Args:
        method: ``greedy`` is a beam of 1; ``beam``; ``sample`` draws each token.
        beam: hypotheses kept for each input.
        nbest: hypotheses returned for each input, best first; with ``sample`` the number drawn.
        length_penalty: hypotheses are ranked by log-probability / length ** length_penalty, the end token counted. With one,
            the search ends when a whole beam has finished and the best open hypothesis, as it stands, ranks lower.
        temperature: of sampling; towards 0 is greedy.
        top_k: sample among the k likeliest tokens; 0 for all.
        top_p: sample among the likeliest tokens that together reach this probability.
        max_length, min_length: in tokens, without the end token.
        no_repeat_ngram: never write so many tokens in a row that stand in the output already, unless nothing else can be
            written; 0: no such rule.
        recombine: of hypotheses with the same last so many tokens only the best one is gone on with, as what is still to come
            will hardly change their order; 0: no such rule. A beam holds more that is different then.
        threshold: hypotheses that score so much less than the best one of their input are given up; 0 for none.
        weights: of the model's further scorers, by their names, its own being 1; those that aren't named have no say.
        second_pass: a beam goes by these scorers alone, and the model itself judges what they find (Sainath et al. 2019): it
            adds its log-probability to the scores of the best. For scorers that know better than the model. Without any it
            searches itself.
    Raises:
        UsageError: for values outside their range.
    """

    method: Literal["greedy", "beam", "sample"] = "beam"
    beam: int = 5
    nbest: int = 1
    length_penalty: float = 0.0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    max_length: int = 50
    min_length: int = 1
    no_repeat_ngram: int = 0
    recombine: int = 0
    threshold: float = 0.0
    weights: Mapping[str, float] = field(default_factory=dict)
    second_pass: bool = False

    def __post_init__(self) -> None:
        counts = ("beam", "nbest", "top_k", "max_length", "min_length", "no_repeat_ngram", "recombine")
        settings = vars(self)
        for name in counts:
            if not isinstance(settings[name], int):
                raise UsageError(f"{name} must be a whole number")
        most = MOST_SAMPLES if self.method == "sample" else WIDEST_BEAM
        faults = {
            "method must be greedy, beam or sample": self.method not in ("greedy", "beam", "sample"),
            f"beam must lie between 1 and {WIDEST_BEAM}": not 1 <= self.beam <= WIDEST_BEAM,
            f"nbest must lie between 1 and {most}": not 1 <= self.nbest <= most,
            "nbest can't exceed beam": self.method == "beam" and self.nbest > self.beam,
            "greedy decoding has one best": self.method == "greedy" and self.nbest > 1,
            f"length_penalty can't be beyond {LARGEST_PENALTY:g}": not abs(self.length_penalty) <= LARGEST_PENALTY,
            f"temperature must be above 0, and at most {TEMPERATURES[1]:g}": not 0 < self.temperature <= TEMPERATURES[1],
            "top_k can't be negative": self.top_k < 0,
            "top_p must lie in (0, 1]": not 0 < self.top_p <= 1,
            "max_length must be at least 1, and at least min_length": self.max_length < max(1, self.min_length),
            f"max_length can't exceed {LONGEST_OUTPUT}": self.max_length > LONGEST_OUTPUT,
            "no_repeat_ngram can't be negative": self.no_repeat_ngram < 0,
            "recombine can't be negative": self.recombine < 0,
            "threshold can't be negative": not 0 <= self.threshold < math.inf,
            "weights can't be negative": any(not 0 <= weight < math.inf for weight in self.weights.values()),
        }
        for message, wrong in faults.items():
            if wrong:
                raise UsageError(message)


@dataclass(frozen=True)
class Hypothesis:
    """One decoded sequence of T tokens.

    Args:
        ids: the tokens, the end token included if it was written.
        log_probs: (T,) under the model, whatever the temperature.
        score: what hypotheses are ranked by.
        attention: by name, (T, positions) or (T, heads, positions).
        extras: by name, (T,) or (T, n).
    """

    ids: list[int]
    log_probs: NDArray[np.float32]
    score: float
    attention: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    extras: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


class Scorer(Protocol):
    """A further judge of hypotheses, such as a language model. Its state is selected by rows as a model's is."""

    def start(self, memory: Memory, rows_per_item: int = 1) -> Any: ...
    def score(self, token: Tensor, state: Any, memory: Memory) -> tuple[Tensor, Any]:
        """Log-probabilities (rows, vocabulary) of the next token after ``token`` (rows,), and the next state."""


@torch.inference_mode()
def decode(
    model: SequenceModel,
    memory: Memory,
    decoding: Decoding,
    keys: Sequence[int] | None = None,
    scorers: Sequence[tuple[Scorer, float]] | None = None,
) -> list[list[Hypothesis]]:
    """Decode every row of a memory.

    Args:
        keys: for sampling, the key of each row's stream of random numbers (``condgen_cli.running.randomness``); None: numbers
            come from torch's own generator. With the same key a row has the same samples in any batch, as far as the model's
            probabilities are the same to rounding; the first of several samples is the one that a single one would be.
        scorers: further scorers with their weights, the model's own weight being 1; None: those that the model brings, with
            the weights that ``decoding`` gives them.
    Returns:
        for each memory row its hypotheses, best first.
    Raises:
        UsageError: if ``decoding`` weighs a scorer that the model lacks.
    """
    if not len(memory):
        return []
    if decoding.method == "beam" and decoding.beam >= WIDE and len(memory) > 1:
        each = torch.arange(len(memory), device=memory.values.device).unsqueeze(1)
        return [found for row in each for found in decode(model, memory.select(row), decoding, None, scorers)]
    if scorers is None:
        scorers = _weighted(model.scorers(), decoding.weights)
    second_pass = decoding.second_pass and decoding.method != "sample" and bool(scorers)
    scoring = _Scoring(model, scorers, decoding, own=not second_pass)
    with flush_denormals():
        if decoding.method == "sample":
            return _sample(scoring, memory, decoding, fresh_keys(len(memory)) if keys is None else keys)
        if not second_pass:
            return _beam_search(scoring, memory, decoding)
        found = _beam_search(scoring, memory, replace(decoding, nbest=min(decoding.beam, max(SECOND, decoding.nbest))))
        return _judged(model, memory, found, decoding)


def reweighted(decoding: Decoding, model: Model, weights: Mapping[str, float]) -> Decoding:
    """The decoding with other weights of some of the model's scorers.

    Raises:
        UsageError: if the model lacks one, or a weight is negative.
    """
    _check_names(weights, model.scorers() if isinstance(model, SequenceModel) else {})
    return replace(decoding, weights={**decoding.weights, **weights})


def _check_names(weights: Mapping[str, float], scorers: Mapping[str, Scorer]) -> None:
    for name in weights:
        if name not in scorers:
            raise UsageError(f"the model has no scorer {name!r}", f"it has: {', '.join(scorers) or 'none'}")


def _weighted(scorers: Mapping[str, Scorer], weights: Mapping[str, float]) -> list[tuple[Scorer, float]]:
    _check_names(weights, scorers)
    return [(scorers[name], weight) for name, weight in weights.items() if weight]


@torch.inference_mode()
def force(model: SequenceModel, memory: Memory, ids: Sequence[Sequence[int]]) -> list[Hypothesis]:
    """What the model looks at when made to write ``ids``, and their log-probabilities.

    Args:
        ids: sequences, as many for each memory row, those of a row together.
    """
    vocabulary = model.vocabulary
    device = memory.values.device
    longest = max(map(len, ids), default=0)
    targets = torch.full((len(ids), longest), vocabulary.pad, device=device)
    for row, sequence in enumerate(ids):
        targets[row, : len(sequence)] = torch.tensor(list(sequence), device=device)
    state = model.start(memory, len(ids) // len(memory))
    token = torch.full((len(ids),), vocabulary.bos, device=device)
    same, log_prob, trace = torch.arange(len(ids), device=device), torch.zeros(len(ids), device=device), _Trace()
    chosen: list[Tensor] = []
    for position in range(longest):
        step = model.step(token, state, memory)
        trace.append(same, token, log_prob, step)
        state, token = step.state, targets[:, position]
        log_prob = step.logits.log_softmax(-1).gather(1, token.unsqueeze(1)).squeeze(1)
        chosen.append(log_prob)
    return [
        trace.hypothesis(len(sequence) - 1, row, sequence[-1], float(chosen[len(sequence) - 1][row]))
        for row, sequence in enumerate(ids)
    ]


def _judged(model: SequenceModel, memory: Memory, found: list[list[Hypothesis]], decoding: Decoding) -> list[list[Hypothesis]]:
    """What a first pass found, the model's log-probability added to its scores: the best of each input."""
    width = max(map(len, found))
    rows = [(hypotheses * width)[:width] for hypotheses in found]  # those of an input with fewer come again
    forced = force(model, memory, [hypothesis.ids for row in rows for hypothesis in row])
    judged = []
    for number, hypotheses in enumerate(found):
        own = forced[number * width : number * width + len(hypotheses)]
        scored = [
            replace(mine, score=first.score + mine.score / len(mine.ids) ** decoding.length_penalty)
            for first, mine in zip(hypotheses, own, strict=True)
        ]
        judged.append(sorted(scored, key=lambda hypothesis: -hypothesis.score)[: decoding.nbest])
    return judged


class _Scoring:
    """The model, unless its ``own`` judgement isn't asked for yet, and the further scorers as one.

    Their states are followed by what has been written, (rows, steps) with ``bos``, if decoding looks back at it.
    """

    def __init__(
        self, model: SequenceModel, scorers: Sequence[tuple[Scorer, float]], decoding: Decoding, own: bool = True
    ) -> None:
        self.model = model
        self.own = own
        self.scorers = scorers
        self.no_repeat_ngram = decoding.no_repeat_ngram
        self.looks_back = bool(decoding.no_repeat_ngram or decoding.recombine)
        vocabulary = model.vocabulary
        self.eos = vocabulary.eos
        self.bos = vocabulary.bos
        self.never = [vocabulary.pad, vocabulary.bos, *([] if model.copies_unknown else [vocabulary.unk])]

    def start(self, memory: Memory, rows_per_item: int = 1) -> list[Any]:
        own = self.model.start(memory, rows_per_item) if self.own else None
        states = [own, *(scorer.start(memory, rows_per_item) for scorer, _ in self.scorers)]
        if self.looks_back:
            states.append(torch.zeros(len(memory) * rows_per_item, 0, dtype=torch.long, device=memory.values.device))
        return states

    def step(self, token: Tensor, states: list[Any], memory: Memory, can_end: bool) -> _Scored:
        """Score every next token."""
        if self.own:
            step = self.model.step(token, states[0], memory)
            logits = step.logits.float()
            norm = logits.logsumexp(1)
        else:
            logits = memory.values.new_zeros(len(token), len(self.model.vocabulary), dtype=torch.float32)
            norm = logits.new_zeros(len(token))
            step = Step(logits, None)
        total, next_states = logits, [step.state]
        for (scorer, weight), state in zip(self.scorers, states[1:], strict=False):
            added, state = scorer.score(token, state, memory)
            total = total + weight * added
            next_states.append(state)
        # in place, without scorers in the logits too: what may not be written is never asked for again
        total[:, self.never if can_end else [*self.never, self.eos]] = -torch.inf
        if self.looks_back:
            next_states.append(torch.cat([states[-1], token.unsqueeze(1)], 1))
        if self.no_repeat_ngram:
            written = next_states[-1]
            rows, tokens = _repeating(written, self.no_repeat_ngram)
            ended = tokens == self.eos  # rows that have ended go on with the end token, however often
            _forbid(total, rows[~ended], tokens[~ended])
        return _Scored(total, logits, norm, next_states, step)

    def only_end(self, scored: _Scored) -> _Scored:
        """Scores that leave nothing but the end token."""
        ended = torch.full_like(scored.total, -torch.inf)
        ended[:, self.eos] = scored.total[:, self.eos]
        return replace(scored, total=ended)


def _repeating(written: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Rows of ``written`` (rows, steps), each with a token that would end an n-gram of that size which it has."""
    if written.shape[1] < size:
        nothing = written.new_zeros(0)
        return nothing, nothing
    ngrams = written.unfold(1, size, 1)
    same = (ngrams[:, :, :-1] == written[:, None, written.shape[1] - size + 1 :]).all(2)
    rows, places = same.nonzero(as_tuple=True)
    return rows, ngrams[rows, places, -1]


def _forbid(total: Tensor, rows: Tensor, tokens: Tensor) -> None:
    """Take tokens from rows' scores (rows, vocabulary), in place; not from rows that would be left with nothing to write."""
    if not len(rows):
        return
    best, before = total.amax(1), total[rows, tokens]
    total[rows, tokens] = -torch.inf
    stuck = (~(total.amax(1) > best - HOPELESS))[rows]
    total[rows[stuck], tokens[stuck]] = before[stuck]


@dataclass(frozen=True)
class _Scored:
    """One step's scores. Log-probabilities are never made for a whole vocabulary, of which few tokens are looked at.

    Args:
        total: (rows, vocabulary) what tokens are ranked by within a row, the scorers included; less ``norm``, the score.
        logits: (rows, vocabulary) the model's own.
        norm: (rows,) their log-sum-exp.
        states: of the model and the scorers.
        step: the model's.
    """

    total: Tensor
    logits: Tensor
    norm: Tensor
    states: list[Any]
    step: Step

    def log_prob(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """The model's own log-probabilities of some rows' tokens."""
        return self.logits[rows, tokens] - self.norm[rows]


class _Trace:
    """The rows of every step, with pointers to the rows that they continue, from which sequences are read back."""

    def __init__(self) -> None:
        self.steps: list[tuple[Any, ...]] = []

    def append(self, origin: Tensor, token: Tensor, log_prob: Tensor, step: Step) -> None:
        """``origin``: for each row that of the step before; ``token``, ``log_prob``: what it read; ``step``: what it gave."""

        def arrays(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
            return {name: tensor.float().cpu().numpy() for name, tensor in tensors.items()}

        read = (origin.cpu().numpy(), token.cpu().numpy(), log_prob.float().cpu().numpy())
        self.steps.append((*read, arrays(step.attention), arrays(step.extras)))

    def hypothesis(self, last: int, row: int, token: int, log_prob: float) -> Hypothesis:
        """The sequence that led to row ``row`` of step ``last`` and there wrote ``token``, scored by its log-probability."""
        ids, log_probs = [token], [log_prob]
        attention: dict[str, list[NDArray[np.float32]]] = {}
        extras: dict[str, list[NDArray[np.float32]]] = {}
        for position in range(last, -1, -1):
            origins, tokens, chosen, weights, numbers = self.steps[position]
            for name, array in weights.items():
                attention.setdefault(name, []).append(array[row])
            for name, array in numbers.items():
                extras.setdefault(name, []).append(array[row])
            if position:
                ids.append(int(tokens[row]))
                log_probs.append(float(chosen[row]))
            row = int(origins[row])
        return Hypothesis(
            ids[::-1],
            np.array(log_probs[::-1], np.float32),
            sum(log_probs),
            {name: np.stack(rows[::-1]) for name, rows in attention.items()},
            {name: np.array(rows[::-1], np.float32) for name, rows in extras.items()},
        )


@dataclass(frozen=True)
class _Finished:
    """A finished hypothesis: where its last row stands in the trace, and what it is ranked by."""

    score: float
    step: int
    row: int
    token: int
    log_prob: float


def _ranked(trace: _Trace, finished: list[list[_Finished]], decoding: Decoding) -> list[list[Hypothesis]]:
    """The ``nbest`` hypotheses of each input, best first, read back from the trace."""
    return [
        [
            replace(trace.hypothesis(end.step, end.row, end.token, end.log_prob), score=end.score)
            for end in sorted(found, key=lambda end: -end.score)[: decoding.nbest]
        ]
        for found in finished
    ]


def _beam_search(scoring: _Scoring, memory: Memory, decoding: Decoding) -> list[list[Hypothesis]]:
    """Beam search over all inputs at once.

    A candidate that ends is finished if it is among the ``beam`` best of its input; the beam goes on with the best that don't.
    An input is done when it has ``nbest`` finished hypotheses that nothing alive can beat.
    """
    beam = 1 if decoding.method == "greedy" else decoding.beam
    device = memory.values.device
    finished: list[list[_Finished]] = [[] for _ in range(len(memory))]
    alive = list(range(len(memory)))  # the inputs still being decoded, by memory row at the start
    token = torch.full((len(memory),), scoring.bos, device=device)
    origin, log_prob = torch.arange(len(memory), device=device), torch.zeros(len(memory), device=device)
    scores = torch.zeros(len(memory), 1, device=device)
    states, trace = scoring.start(memory), _Trace()
    for position in range(decoding.max_length + 1):
        scored = scoring.step(token, states, memory, position >= decoding.min_length)
        trace.append(origin, token, log_prob, scored.step)
        if position == decoding.max_length:
            scored = scoring.only_end(scored)
        # with twice the beam's candidates there are enough to go on with even if the best all end
        number = beam * (4 if decoding.recombine else 2)
        best, row, chosen = _best(scored.total, scores - scored.norm.view(scores.shape), number)
        if decoding.recombine:
            best = best.masked_fill(_again(scored.states[-1][row], chosen, decoding.recombine), -torch.inf)
        ends = chosen == scoring.eos
        ended = scored.log_prob(row, chosen).tolist() if ends.any() else []
        for item, rank in (ends & best.isfinite()).nonzero().tolist():
            if rank < beam:
                score = float(best[item, rank]) / (position + 1) ** decoding.length_penalty
                end = _Finished(score, position, int(row[item, rank]), scoring.eos, ended[item][rank])
                finished[alive[item]].append(end)
        scores, keep = best.masked_fill(ends, -torch.inf).topk(min(beam, best.shape[1]), 1)
        if decoding.threshold:
            width = int((scores >= scores[:, :1] - decoding.threshold).sum(1).max())
            scores, keep = scores[:, :width], keep[:, :width]
        heads = scores[:, 0].tolist()
        going = [item for item, head in enumerate(heads) if _open(finished[alive[item]], head, position, beam, decoding)]
        if not going:
            break
        items = torch.tensor(going, device=device)
        scores, keep = scores[items], keep[items]
        origin, token = row[items].gather(1, keep).flatten(), chosen[items].gather(1, keep).flatten()
        log_prob = scored.log_prob(origin, token)
        states = [select_state(state, origin) for state in scored.states]
        if len(going) < len(alive):
            memory, alive = memory.select(items), [alive[item] for item in going]
    return _ranked(trace, finished, decoding)


def _best(logits: Tensor, added: Tensor, number: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best next tokens of each input over all its rows.

    They lie in the ``number`` blocks of the vocabulary with the highest peaks, so that only these are searched.

    Args:
        logits: (inputs · width, vocabulary).
        added: (inputs, width), to a row's logits.
    Returns:
        scores, rows of ``logits`` and tokens, (inputs, number) each, best first; fewer if there are fewer tokens.
    """
    count, width, size = *added.shape, logits.shape[1]
    peaks = F.max_pool1d(logits, BLOCK, ceil_mode=True)
    blocks = peaks.shape[1]
    peaks = (peaks.view(count, width, blocks) + added.unsqueeze(2)).flatten(1)
    block = peaks.topk(min(number, width * blocks), 1, sorted=False).indices
    first = torch.arange(0, count * width, width, device=logits.device).unsqueeze(1)
    row = first + block // blocks
    token = (block % blocks).unsqueeze(2) * BLOCK + torch.arange(BLOCK, device=logits.device)
    beyond, token = token >= size, token.clamp(max=size - 1)
    scores = logits[row.unsqueeze(2), token] + added.gather(1, block // blocks).unsqueeze(2)
    best, place = scores.masked_fill(beyond, -torch.inf).flatten(1).topk(min(number, width * size), 1)
    return best, row.gather(1, place // BLOCK), token.flatten(1).gather(1, place)


def _again(written: Tensor, chosen: Tensor, size: int) -> Tensor:
    """Candidates, best first, whose last tokens are those of a better one.

    Args:
        written: (inputs, number, steps) before them.
        chosen: (inputs, number) their own tokens.
        size: how many of the last tokens count.
    """
    ends = torch.cat([written[:, :, max(0, written.shape[2] - size + 1) :], chosen.unsqueeze(2)], 2)
    again = []
    for candidates in ends.tolist():
        seen: set[tuple[int, ...]] = set()
        for candidate in map(tuple, candidates):
            again.append(candidate in seen)
            seen.add(candidate)
    return torch.tensor(again, device=chosen.device).view(chosen.shape)


def _open(finished: list[_Finished], best_alive: float, position: int, beam: int, decoding: Decoding) -> bool:
    """Whether to go on with an input: its best open hypothesis against the nbest-th finished one.

    Without a length penalty a score can only fall, so nothing is missed. With one it may also rise; it is compared as it
    stands, once a whole beam has finished.
    """
    if best_alive == -np.inf:
        return False
    if len(finished) < (beam if decoding.length_penalty else decoding.nbest):
        return True
    worst = sorted((end.score for end in finished), reverse=True)[decoding.nbest - 1]
    return best_alive / (position + 1) ** decoding.length_penalty > worst


def _sample(scoring: _Scoring, memory: Memory, decoding: Decoding, keys: Sequence[int]) -> list[list[Hypothesis]]:
    """Draw ``nbest`` sequences for each input, best log-probability first."""
    count, device = decoding.nbest, memory.values.device
    finished: list[list[_Finished]] = [[] for _ in range(len(memory))]
    alive = list(range(len(memory)))
    token = torch.full((len(memory) * count,), scoring.bos, device=device)
    origin, log_prob = torch.arange(len(token), device=device), torch.zeros(len(token), device=device)
    scores, done = torch.zeros(len(token), device=device), torch.zeros(len(token), dtype=torch.bool, device=device)
    states, trace, uniforms = scoring.start(memory, count), _Trace(), Uniforms(keys, count)
    for position in range(decoding.max_length + 1):
        scored = scoring.step(token, states, memory, position >= decoding.min_length)
        trace.append(origin, token, log_prob, scored.step)
        if position == decoding.max_length:
            scored = scoring.only_end(scored)
        token = _drawn(_truncated(scored.total / decoding.temperature, decoding), uniforms.draw())
        log_prob = scored.log_prob(torch.arange(len(token), device=device), token)
        scores = scores + scored.total.gather(1, token.unsqueeze(1)).squeeze(1) - scored.norm
        ends = (token == scoring.eos) & ~done
        for row in ends.nonzero().squeeze(1).tolist():
            score = float(scores[row]) / (position + 1) ** decoding.length_penalty
            finished[alive[row // count]].append(_Finished(score, position, row, scoring.eos, float(log_prob[row])))
        done = done | ends
        going = (~done.view(-1, count)).any(1).nonzero().squeeze(1)
        if not len(going):
            break
        origin = (going.unsqueeze(1) * count + torch.arange(count, device=device)).flatten()
        token, log_prob, scores, done = token[origin], log_prob[origin], scores[origin], done[origin]
        states = [select_state(state, origin) for state in scored.states]
        if len(going) < len(alive):
            memory, alive = memory.select(going), [alive[item] for item in going.tolist()]
            uniforms.keep(origin.tolist())
    return _ranked(trace, finished, decoding)


def _drawn(probabilities: Tensor, numbers: NDArray[np.float64]) -> Tensor:
    """The token of each row (rows,) where the sum of the probabilities (rows, vocabulary) up to it passes the row's number."""
    exact = torch.float32 if probabilities.device.type == "mps" else torch.float64
    sums = probabilities.to(exact).cumsum(1)
    total = sums[:, -1:]
    wanted = torch.from_numpy(numbers).to(exact).to(total.device).unsqueeze(1) * total
    # a number just below 1 may be rounded up to the whole sum, which no token passes
    wanted = wanted.minimum(torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(sums, wanted, right=True).squeeze(1)


def _truncated(logits: Tensor, decoding: Decoding) -> Tensor:
    """Probabilities (rows, vocabulary) after top-k, then top-p (Holtzman et al. 2020): the likeliest token always stays."""
    if decoding.top_k and decoding.top_k < logits.shape[1]:
        smallest = logits.topk(decoding.top_k, 1).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    probabilities = logits.softmax(1)
    if decoding.top_p < 1:
        ordered, index = probabilities.sort(1, descending=True)
        ordered = ordered.masked_fill(ordered.cumsum(1) - ordered >= decoding.top_p, 0.0)
        probabilities = torch.zeros_like(probabilities).scatter_(1, index, ordered)
    return probabilities
