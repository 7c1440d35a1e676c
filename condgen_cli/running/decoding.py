"""Decoding: greedy, beam search and sampling, one implementation for every sequence model.

The rows of one input are adjacent, so that the decoder reads each memory row for all of them at once (see
``model.SequenceContract``). Finished inputs leave the batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from condgen_cli.arrays import Array, Operations, arrays_of, select_rows
from condgen_cli.contract import Contract, Memory, SequenceContract, Step
from condgen_cli.errors import UsageError
from condgen_cli.running.limits import LARGEST_PENALTY, LONGEST_OUTPUT, MOST_SAMPLES, TEMPERATURES, WIDEST_BEAM
from condgen_cli.running.randomness import Uniforms

__all__ = ["Decoding", "Hypothesis", "Scorer", "decode", "force", "reweight"]

WIDE = 32
"""From this beam on, inputs are searched one at a time: one beam already fills a batch, and several would only take memory."""
SECOND = 4
"""Number of hypotheses per input that the second pass rescores."""
HOPELESS = 1000.0
"""A token whose score is lower than another's by this much is no alternative to it."""
BLOCK = 64
"""Block size, in tokens, of the search for the best tokens of the vocabulary."""


@dataclass(frozen=True)
class Decoding:
    """Settings of decoding.

    Args:
        method: ``greedy`` (a beam of 1), ``beam`` (beam search) or ``sample`` (sampling).
        beam: number of hypotheses kept for each input.
        nbest: number of hypotheses returned for each input, best first; with ``sample``, the number of samples.
        length_penalty: hypotheses are ranked by log-probability / length ** length_penalty, where the length includes the end
            token. Unless it is 0, the search ends when ``beam`` hypotheses have finished and the best unfinished one currently
            ranks lower.
        temperature: temperature of sampling; 0 would be greedy.
        top_k: sample among the k most likely tokens; 0: all.
        top_p: sample among the most likely tokens that together reach this probability.
        max_length, min_length: output length in tokens, without the end token.
        no_repeat_ngram: n-gram blocking: never repeat an n-gram of this size within an output, unless no other token is
            possible; 0 disables.
        recombine: hypothesis recombination: merge hypotheses that share their last n tokens, keeping the best, so that the beam
            stays diverse; 0 disables.
        threshold: beam threshold: drop hypotheses that score lower than the best of their input by more than this; 0 disables.
        ends: when the search of an input ends. With ``nbest`` (and a length penalty), as said above. With ``beam``, when
            ``beam`` hypotheses have finished and the best unfinished one ranks below all of them, so that more than the
            ``nbest`` best are found; with ``full``, as soon as ``beam`` have finished. The last two are the searches of
            Hugging Face transformers (``early_stopping`` False and True).
        weights: scorer weights: weights of the model's further scorers by name; the model's own weight is 1, that of scorers
            not named 0.
        second_pass: two-pass search: the further scorers alone run the beam, then the model rescores the best hypotheses by
            adding its log-probability (Sainath et al. 2019). For scorers that are better than the model. Without scorers, one
            pass with the model.
    Raises:
        UsageError: if a value is out of range.
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
    ends: Literal["nbest", "beam", "full"] = "nbest"
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
            "nbest must be 1 in greedy decoding": self.method == "greedy" and self.nbest > 1,
            f"length_penalty must lie within ±{LARGEST_PENALTY:g}": not abs(self.length_penalty) <= LARGEST_PENALTY,
            "ends must be nbest, beam or full": self.ends not in ("nbest", "beam", "full"),
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
        ids: the token ids, including the end token if it was written.
        log_probs: (T,) natural log-probabilities under the model, whatever the temperature.
        score: the score that hypotheses are ranked by.
        attention: attention weights by name, (T, positions) or (T, heads, positions).
        extras: further numbers by name, (T,) or (T, n).
    """

    ids: list[int]
    log_probs: NDArray[np.float32]
    score: float
    attention: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    extras: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


class Scorer(Protocol):
    """A further scorer of hypotheses, such as a language model. Rows of its state are selected as those of a model's state."""

    def start(self, memory: Memory, rows_per_item: int = 1) -> Any: ...
    def score(self, token: Array, state: Any, memory: Memory) -> tuple[Array, Any]:
        """Log-probabilities (rows, vocabulary) of the next token after ``token`` (rows,), and the next state."""


def decode(
    model: SequenceContract,
    memory: Memory,
    decoding: Decoding,
    keys: Sequence[int] | None = None,
    scorers: Sequence[tuple[Scorer, float]] | None = None,
) -> list[list[Hypothesis]]:
    """Decode every row of a memory.

    Args:
        model: the model.
        memory: the encoded inputs.
        decoding: the settings.
        keys: for sampling, the key of each row's random stream (``condgen_cli.running.randomness``); None: keys are drawn from
            the generator of the memory's library. With the same key a row gets the same samples in any batch, up to rounding of
            the probabilities; the first of several samples equals a single sample.
        scorers: further scorers with their weights; None: those of the model, with the weights of ``decoding``.
    Returns:
        for each memory row, its hypotheses, best first.
    Raises:
        UsageError: if ``decoding`` has the weight of a scorer that the model lacks.
    """
    if not len(memory):
        return []
    ops = arrays_of(memory.values)
    with ops.inference(), ops.flush_denormals():
        return _decode(model, memory, decoding, ops, keys, scorers)


def _decode(
    model: SequenceContract,
    memory: Memory,
    decoding: Decoding,
    ops: Operations,
    keys: Sequence[int] | None,
    scorers: Sequence[tuple[Scorer, float]] | None,
) -> list[list[Hypothesis]]:
    if decoding.method == "beam" and decoding.beam >= WIDE and len(memory) > 1:
        rows = (ops.integers([row]) for row in range(len(memory)))
        return [found for row in rows for found in _decode(model, memory.select(row), decoding, ops, None, scorers)]
    if scorers is None:
        scorers = _select_scorers(model.scorers(), decoding.weights)
    second_pass = decoding.second_pass and decoding.method != "sample" and bool(scorers)
    scoring = _Scoring(model, scorers, decoding, ops, own=not second_pass)
    if decoding.method == "sample":
        return _sample(scoring, memory, decoding, ops.random_keys(len(memory)) if keys is None else keys)
    if not second_pass:
        return _beam_search(scoring, memory, decoding)
    found = _beam_search(scoring, memory, replace(decoding, nbest=min(decoding.beam, max(SECOND, decoding.nbest))))
    return _rescore(model, memory, found, decoding)


def reweight(decoding: Decoding, model: Contract, weights: Mapping[str, float]) -> Decoding:
    """Change the weights of some of the model's scorers.

    Raises:
        UsageError: if the model lacks one, or a weight is negative.
    """
    _check_names(weights, model.scorers() if isinstance(model, SequenceContract) else {})
    return replace(decoding, weights={**decoding.weights, **weights})


def _check_names(weights: Mapping[str, float], scorers: Mapping[str, Scorer]) -> None:
    for name in weights:
        if name not in scorers:
            raise UsageError(f"the model has no scorer {name!r}", f"it has: {', '.join(scorers) or 'none'}")


def _select_scorers(scorers: Mapping[str, Scorer], weights: Mapping[str, float]) -> list[tuple[Scorer, float]]:
    _check_names(weights, scorers)
    return [(scorers[name], weight) for name, weight in weights.items() if weight]


def force(model: SequenceContract, memory: Memory, ids: Sequence[Sequence[int]]) -> list[Hypothesis]:
    """Forced decoding: the attention and log-probabilities of given outputs.

    Args:
        model: the model.
        memory: the encoded inputs.
        ids: token ids of the outputs, the same number for each memory row, grouped by row.
    """
    vocabulary, ops = model.vocabulary, arrays_of(memory.values)
    longest = max(map(len, ids), default=0)
    targets = ops.integers([[*sequence, *[vocabulary.pad] * (longest - len(sequence))] for sequence in ids])
    token = ops.filled((len(ids),), vocabulary.bos)
    same, log_prob, trace = ops.arange(0, len(ids)), ops.filled((len(ids),), 0.0), _Trace(ops)
    chosen: list[Array] = []
    with ops.inference():
        state = model.start(memory, len(ids) // len(memory))
        for position in range(longest):
            step = model.step(token, state, memory)
            trace.append(same, token, log_prob, step)
            state, token = step.state, targets[:, position]
            log_prob = ops.gather(ops.log_softmax(step.logits), token[:, None])[:, 0]
            chosen.append(log_prob)
    return [
        trace.hypothesis(len(sequence) - 1, row, sequence[-1], float(chosen[len(sequence) - 1][row]))
        for row, sequence in enumerate(ids)
    ]


def _rescore(
    model: SequenceContract, memory: Memory, found: list[list[Hypothesis]], decoding: Decoding
) -> list[list[Hypothesis]]:
    """The second pass: add the model's log-probability to the scores of the first pass; returns the best of each input."""
    width = max(map(len, found))
    rows = [(hypotheses * width)[:width] for hypotheses in found]  # inputs with fewer hypotheses are filled up with copies
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
    """The combined score of the model (unless ``own`` is False) and the further scorers.

    The list of states ends with the tokens so far, (rows, steps) including ``bos``, if decoding needs them.
    """

    def __init__(
        self,
        model: SequenceContract,
        scorers: Sequence[tuple[Scorer, float]],
        decoding: Decoding,
        ops: Operations,
        own: bool = True,
    ) -> None:
        self.ops = ops
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
            states.append(self.ops.filled((len(memory) * rows_per_item, 0), 0))
        return states

    def step(self, token: Array, states: list[Any], memory: Memory, can_end: bool) -> _Scored:
        """Score every next token."""
        if self.own:
            step = self.model.step(token, states[0], memory)
            logits = self.ops.to_float(step.logits)
            norm = self.ops.log_sum_exp(logits)
        else:
            logits = self.ops.filled((len(token), len(self.model.vocabulary)), 0.0)
            norm = self.ops.filled((len(token),), 0.0)
            step = Step(logits, None)
        total, next_states = logits, [step.state]
        for (scorer, weight), state in zip(self.scorers, states[1:], strict=False):
            added, state = scorer.score(token, state, memory)
            total = total + weight * added
            next_states.append(state)
        # in place: without scorers this is also ``logits``, whose forbidden tokens are never used again
        total[:, self.never if can_end else [*self.never, self.eos]] = -math.inf
        if self.looks_back:
            next_states.append(self.ops.concatenate([states[-1], token[:, None]], 1))
        if self.no_repeat_ngram:
            written = next_states[-1]
            rows, tokens = _repeated_ngrams(self.ops, written, self.no_repeat_ngram)
            ended = tokens == self.eos  # finished rows repeat the end token
            _forbid_tokens(self.ops, total, rows[~ended], tokens[~ended])
        return _Scored(total, logits, norm, next_states, step)

    def only_end(self, scored: _Scored) -> _Scored:
        """The scores with all tokens but the end token forbidden."""
        ended = self.ops.filled_like(scored.total, -math.inf)
        ended[:, self.eos] = scored.total[:, self.eos]
        return replace(scored, total=ended)


def _repeated_ngrams(ops: Operations, written: Array, size: int) -> tuple[Array, Array]:
    """Tokens that would repeat an n-gram of this size: indices of rows of ``written`` (rows, steps), and for each a token."""
    steps = written.shape[1]
    if steps < size:
        return ops.filled((0,), 0), ops.filled((0,), 0)
    ngrams = written[:, ops.arange(0, steps - size + 1)[:, None] + ops.arange(0, size)]
    same = (ngrams[:, :, :-1] == written[:, None, steps - size + 1 :]).all(2)
    rows, places = ops.nonzero(same).T
    return rows, ngrams[rows, places, -1]


def _forbid_tokens(ops: Operations, total: Array, rows: Array, tokens: Array) -> None:
    """Forbid tokens in rows of the scores (rows, vocabulary), in place, except in rows that would have no token left."""
    if not len(rows):
        return
    best, before = ops.maximum(total), total[rows, tokens]
    total[rows, tokens] = -math.inf
    stuck = (~(ops.maximum(total) > best - HOPELESS))[rows]
    total[rows[stuck], tokens[stuck]] = before[stuck]


@dataclass(frozen=True)
class _Scored:
    """The scores of one step. Log-probabilities are computed only for the few tokens that are needed, not the whole vocabulary.

    Args:
        total: (rows, vocabulary) logits plus weighted scorers; minus ``norm`` it is the score of each token.
        logits: (rows, vocabulary) the model's logits.
        norm: (rows,) log-sum-exp of the logits.
        states: next states of the model and the scorers.
        step: the model's step.
    """

    total: Array
    logits: Array
    norm: Array
    states: list[Any]
    step: Step

    def log_prob(self, rows: Array, tokens: Array) -> Array:
        """The model's log-probabilities of tokens, one for each index of a row."""
        return self.logits[rows, tokens] - self.norm[rows]


class _Trace:
    """The rows of every step with back-pointers, from which sequences are reconstructed."""

    def __init__(self, ops: Operations) -> None:
        self.ops = ops
        self.steps: list[tuple[Any, ...]] = []

    def append(self, origin: Array, token: Array, log_prob: Array, step: Step) -> None:
        """Add a step.

        Args:
            origin: (rows,) index of the row of the previous step that each row continues.
            token: (rows,) token that was read.
            log_prob: (rows,) its log-probability.
            step: result of the step.
        """

        def convert(arrays: Mapping[str, Array]) -> dict[str, NDArray[np.float32]]:
            return {name: self.ops.to_numpy(self.ops.to_float(array)) for name, array in arrays.items()}

        read = (self.ops.to_numpy(array) for array in (origin, token, log_prob))
        self.steps.append((*read, convert(step.attention), convert(step.extras)))

    def hypothesis(self, last: int, row: int, token: int, log_prob: float) -> Hypothesis:
        """The sequence that ends with ``token``, written at row ``row`` of step ``last``; its score is its log-probability."""
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
    """A finished hypothesis: the position of its last row in the trace, and its score."""

    score: float
    step: int
    row: int
    token: int
    log_prob: float


def _rank(trace: _Trace, finished: list[list[_Finished]], decoding: Decoding) -> list[list[Hypothesis]]:
    """The ``nbest`` hypotheses of each input, best first, reconstructed from the trace."""
    return [
        [
            replace(trace.hypothesis(end.step, end.row, end.token, end.log_prob), score=end.score)
            for end in sorted(found, key=lambda end: -end.score)[: decoding.nbest]
        ]
        for found in finished
    ]


def _beam_search(scoring: _Scoring, memory: Memory, decoding: Decoding) -> list[list[Hypothesis]]:
    """Beam search over all inputs at once.

    A candidate with the end token counts as finished if it is among the ``beam`` best of its input; the beam continues with the
    best other candidates. An input is done when no unfinished hypothesis can beat its ``nbest`` best finished ones.
    """
    beam = 1 if decoding.method == "greedy" else decoding.beam
    ops = scoring.ops
    finished: list[list[_Finished]] = [[] for _ in range(len(memory))]
    alive = list(range(len(memory)))  # memory rows of the inputs that are still being decoded
    token = ops.filled((len(memory),), scoring.bos)
    origin, log_prob = ops.arange(0, len(memory)), ops.filled((len(memory),), 0.0)
    scores = ops.filled((len(memory), 1), 0.0)
    states, trace = scoring.start(memory), _Trace(ops)
    for position in range(decoding.max_length + 1):
        scored = scoring.step(token, states, memory, position >= decoding.min_length)
        trace.append(origin, token, log_prob, scored.step)
        if position == decoding.max_length:
            scored = scoring.only_end(scored)
        # twice as many candidates as the beam suffice even if all the best ones end
        number = beam * (4 if decoding.recombine else 2)
        best, row, chosen = _best_candidates(ops, scored.total, scores - scored.norm.reshape(scores.shape), number)
        if decoding.recombine:
            best = ops.replace(best, _find_duplicates(ops, scored.states[-1][row], chosen, decoding.recombine), -math.inf)
        ends = chosen == scoring.eos
        ended = scored.log_prob(row, chosen).tolist() if ends.any() else []
        for item, rank in ops.nonzero(ends & ops.is_finite(best)).tolist():
            if rank < beam:
                score = float(best[item, rank]) / (position + 1) ** decoding.length_penalty
                end = _Finished(score, position, int(row[item, rank]), scoring.eos, ended[item][rank])
                finished[alive[item]].append(end)
        scores, keep = ops.largest(ops.replace(best, ends, -math.inf), min(beam, best.shape[1]))
        if decoding.threshold:
            width = int((scores >= scores[:, :1] - decoding.threshold).sum(1).max())
            scores, keep = scores[:, :width], keep[:, :width]
        heads = scores[:, 0].tolist()
        going = [item for item, head in enumerate(heads) if _is_open(finished[alive[item]], head, position, beam, decoding)]
        if not going:
            break
        items = ops.integers(going)
        scores, keep = scores[items], keep[items]
        origin, token = (ops.gather(found[items], keep).reshape(-1) for found in (row, chosen))
        log_prob = scored.log_prob(origin, token)
        states = [select_rows(state, origin) for state in scored.states]
        if len(going) < len(alive):
            memory, alive = memory.select(items), [alive[item] for item in going]
    return _rank(trace, finished, decoding)


def _best_candidates(ops: Operations, logits: Array, added: Array, number: int) -> tuple[Array, Array, Array]:
    """The best next tokens of each input, over all its rows.

    Only the ``number`` blocks of the vocabulary with the highest maxima are searched, since they contain the best tokens.

    Args:
        logits: (inputs · width, vocabulary).
        added: (inputs, width), added to a row's logits.
        number: number of tokens per input.
    Returns:
        scores, row indices of ``logits``, and tokens, (inputs, number) each, best first; fewer if there are fewer tokens.
    """
    (count, width), size = added.shape, logits.shape[1]
    peaks = ops.block_maxima(logits, BLOCK)
    blocks = peaks.shape[1]
    peaks = (peaks.reshape(count, width, blocks) + added[:, :, None]).reshape(count, width * blocks)
    _, block = ops.largest(peaks, min(number, width * blocks), ordered=False)
    first = ops.arange(0, count * width, width)[:, None]
    row = first + block // blocks
    token = (block % blocks)[:, :, None] * BLOCK + ops.arange(0, BLOCK)
    beyond, token = token >= size, ops.at_most(token, size - 1)
    scores = logits[row[:, :, None], token] + ops.gather(added, block // blocks)[:, :, None]
    scores = ops.replace(scores, beyond, -math.inf).reshape(count, -1)
    best, place = ops.largest(scores, min(number, width * size))
    return best, ops.gather(row, place // BLOCK), ops.gather(token.reshape(count, -1), place)


def _find_duplicates(ops: Operations, written: Array, chosen: Array, size: int) -> Array:
    """Mark candidates that share their last tokens with a better one, for hypothesis recombination.

    Args:
        written: (inputs, number, steps) tokens so far of each candidate, best first.
        chosen: (inputs, number) next tokens.
        size: number of last tokens that are compared.
    """
    ends = ops.concatenate([written[:, :, max(0, written.shape[2] - size + 1) :], chosen[:, :, None]], 2)
    again = []
    for candidates in ends.tolist():
        seen: set[tuple[int, ...]] = set()
        for candidate in map(tuple, candidates):
            again.append(candidate in seen)
            seen.add(candidate)
    return ops.booleans(again).reshape(chosen.shape)


def _is_open(finished: list[_Finished], best_alive: float, position: int, beam: int, decoding: Decoding) -> bool:
    """Whether to continue with an input: whether its best unfinished hypothesis may still beat its nbest-th finished one.

    Without a length penalty scores can only fall, so the comparison is exact. With one they may also rise; then current scores
    are compared once ``beam`` hypotheses have finished.
    """
    if best_alive == -np.inf:
        return False
    if decoding.ends == "nbest":
        least, kept = beam if decoding.length_penalty else decoding.nbest, decoding.nbest
    else:
        least = kept = beam
    if len(finished) < least:
        return True
    if decoding.ends == "full":
        return False
    worst = sorted((end.score for end in finished), reverse=True)[kept - 1]
    return best_alive / (position + 1) ** decoding.length_penalty > worst


def _sample(scoring: _Scoring, memory: Memory, decoding: Decoding, keys: Sequence[int]) -> list[list[Hypothesis]]:
    """Sample ``nbest`` sequences for each input; the best score comes first."""
    count, ops = decoding.nbest, scoring.ops
    finished: list[list[_Finished]] = [[] for _ in range(len(memory))]
    alive = list(range(len(memory)))
    token = ops.filled((len(memory) * count,), scoring.bos)
    origin, log_prob = ops.arange(0, len(token)), ops.filled((len(token),), 0.0)
    scores, done = ops.filled((len(token),), 0.0), ops.filled((len(token),), False)
    states, trace, uniforms = scoring.start(memory, count), _Trace(ops), Uniforms(keys, count)
    for position in range(decoding.max_length + 1):
        scored = scoring.step(token, states, memory, position >= decoding.min_length)
        trace.append(origin, token, log_prob, scored.step)
        if position == decoding.max_length:
            scored = scoring.only_end(scored)
        token = ops.invert_distribution(_truncate(ops, scored.total / decoding.temperature, decoding), uniforms.draw())
        log_prob = scored.log_prob(ops.arange(0, len(token)), token)
        scores = scores + ops.gather(scored.total, token[:, None])[:, 0] - scored.norm
        ends = (token == scoring.eos) & ~done
        for (row,) in ops.nonzero(ends).tolist():
            score = float(scores[row]) / (position + 1) ** decoding.length_penalty
            finished[alive[row // count]].append(_Finished(score, position, row, scoring.eos, float(log_prob[row])))
        done = done | ends
        going = ops.nonzero((~done.reshape(-1, count)).any(1))[:, 0]
        if not len(going):
            break
        origin = (going[:, None] * count + ops.arange(0, count)).reshape(-1)
        token, log_prob, scores, done = token[origin], log_prob[origin], scores[origin], done[origin]
        states = [select_rows(state, origin) for state in scored.states]
        if len(going) < len(alive):
            memory, alive = memory.select(going), [alive[item] for item in going.tolist()]
            uniforms.keep(origin.tolist())
    return _rank(trace, finished, decoding)


def _truncate(ops: Operations, logits: Array, decoding: Decoding) -> Array:
    """Probabilities (rows, vocabulary) after top-k, then top-p (Holtzman et al. 2020), not normalised; the most likely
    token always stays."""
    if decoding.top_k and decoding.top_k < logits.shape[1]:
        smallest = ops.largest(logits, decoding.top_k)[0][:, -1:]
        logits = ops.replace(logits, logits < smallest, -math.inf)
    probabilities = ops.softmax(logits)
    if decoding.top_p < 1:
        ordered, index = ops.sort(probabilities)
        ordered = ops.replace(ordered, ops.running_sum(ordered) - ordered >= decoding.top_p, 0.0)
        probabilities = ops.unsort(ordered, index)
    return probabilities
