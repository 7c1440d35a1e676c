"""Connectionist temporal classification (Graves et al. 2006): prefix scores (Watanabe et al. 2017, section II-C), alignment."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from condgen_cli.model import Memory

__all__ = ["BLANK", "NEVER", "CTCPrefixScorer", "PrefixState", "align_labels", "empty_prefix", "extend_prefix"]

BLANK = 0
"""Id of the blank, which is that of padding."""

NEVER = -1e30
"""A finite stand-in for log 0, so that differences are numbers."""


FAR = 30.0
"""Nats below a prefix's most probable position beyond which positions are ignored."""
AHEAD = 64
"""Positions after the last relevant one in which the next label may occur."""


class PrefixState(NamedTuple):
    """Forward variables of a prefix g.

    Args:
        blank, label: (rows, positions) log-probability of having output exactly g up to a position that outputs the blank, or
            g's last label.
        prefix: (rows,) log-probability of all outputs that begin with g.
        last: (rows,) last label of g; the blank if g is empty.
    """

    blank: Tensor
    label: Tensor
    prefix: Tensor
    last: Tensor


class CTCPrefixScorer:
    """Scores a token c after a prefix g by log p(g · c …) / p(g …), and the end token by log p(g) / p(g …).

    Here p(g …) is the probability of all outputs that begin with g.

    It reads ``memory.auxiliary["ctc"]``, log-probabilities (batch, positions, vocabulary), which are certain blanks at padding.

    Args:
        bos, eos: ids of the beginning and end tokens.
    """

    def __init__(self, bos: int, eos: int) -> None:
        self.bos = bos
        self.eos = eos

    def start(self, memory: Memory, rows_per_item: int = 1) -> PrefixState:
        """The state of the empty prefix."""
        return empty_prefix(memory.auxiliary["ctc"], rows_per_item)

    def score(self, token: Tensor, state: PrefixState, memory: Memory) -> tuple[Tensor, PrefixState]:
        """Scores (rows, vocabulary) of the token after ``token`` (rows,), and the state after ``token``."""
        log_probs = memory.auxiliary["ctc"].double()
        if int(token[0]) != self.bos:
            rows = torch.arange(len(token), device=token.device)
            state = extend_prefix(token, state, log_probs, rows // (len(token) // len(log_probs)))
        return (self._prefixes(state, log_probs) - state.prefix.unsqueeze(1)).float(), state

    def _prefixes(self, state: PrefixState, log_probs: Tensor) -> Tensor:
        """log p(g · c …) for every c, (rows, vocabulary); log p(g) for the end token."""
        batch, _, size = log_probs.shape
        whole = torch.logaddexp(state.blank, state.label)
        ready = _shift_right(whole, state.last)
        peak = ready.amax(1, keepdim=True)
        summed = (ready - peak).exp().view(batch, -1, ready.shape[1]) @ log_probs.exp()
        scores = summed.view(-1, size).log().clamp(min=NEVER) + peak
        # a repetition of the last label needs a blank before it
        rows = torch.arange(len(scores), device=scores.device)
        again = log_probs[rows // (len(scores) // batch), :, state.last]
        scores[rows, state.last] = (_shift_right(state.blank, state.last) + again).logsumexp(1)
        scores[:, self.eos] = whole[:, -1]
        return scores


def empty_prefix(log_probs: Tensor, rows_per_item: int = 1) -> PrefixState:
    """The state of the empty prefix for log-probabilities (batch, positions, vocabulary)."""
    blank = log_probs[:, :, BLANK].double().cumsum(1).repeat_interleave(rows_per_item, 0)
    rows = len(blank)
    last = torch.full((rows,), BLANK, device=blank.device)
    return PrefixState(blank, torch.full_like(blank, NEVER), blank.new_zeros(rows), last)


def extend_prefix(token: Tensor, state: PrefixState, log_probs: Tensor, item: Tensor) -> PrefixState:
    """The state of g · token (Watanabe et al. 2017, algorithm 2), computed for all relevant positions at once.

    Positions before g can have ended, or long after g · token must have, have probability 0.

    Args:
        token: (rows,) labels to append.
        state: states of the rows.
        log_probs: (batch, positions, vocabulary) log-probabilities.
        item: (rows,) row of the batch that each row belongs to.
    """
    positions = log_probs.shape[1]
    ready = _shift_right(_ready(state, token), state.last)
    near = (ready >= ready.amax(1, keepdim=True) - FAR).any(0).nonzero()
    first, end = int(near[0]), int(near[-1]) + AHEAD
    while True:
        span = slice(first, min(end, positions))
        entering, written = ready[:, span], log_probs[item, span, token]
        label = _accumulate(entering, written)
        blank = _accumulate(_shift_right(label), log_probs[item, span, BLANK])
        if end >= positions or not bool((blank[:, -1] > label.amax(1) - FAR).any()):
            break
        end += AHEAD  # in a pause the label may still come
    around = (first, max(0, positions - end))
    prefix = (entering + written).logsumexp(1)
    return PrefixState(F.pad(blank, around, value=NEVER), F.pad(label, around, value=NEVER), prefix, token)


def _ready(state: PrefixState, token: Tensor) -> Tensor:
    """(rows, positions) log-probability of g up to a position, in a state where ``token`` is a new label."""
    again = (token == state.last).unsqueeze(1)
    return torch.where(again, state.blank, torch.logaddexp(state.blank, state.label))


def _shift_right(values: Tensor, last: Tensor | None = None) -> Tensor:
    """Values shifted right by one position. At the first one, the empty prefix is certain and others are impossible."""
    first = values.new_full((len(values), 1), NEVER)
    if last is not None:
        first[last == BLANK] = 0.0
    return torch.cat([first, values[:, :-1]], 1)


def _accumulate(entering: Tensor, staying: Tensor) -> Tensor:
    """x[t] = log(exp x[t-1] + exp entering[t]) + staying[t], from x[-1] = log 0, as one cumulative sum."""
    total = staying.cumsum(1)
    return total + (entering - (total - staying)).logcumsumexp(1)


@torch.no_grad()
def align_labels(log_probs: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """Align labels to positions: on the most probable path (Viterbi's algorithm over the states of Graves et al. 2006, section
    4.1), the position where each label is most probable.

    Args:
        log_probs: (batch, positions, vocabulary) log-probabilities, certain blanks at padding.
        labels: (batch, longest) labels, padded with the blank.
        counts: (batch,) number of labels.
    Returns:
        (batch, longest) positions, 0 at padding; meaningless for a row with fewer positions than its labels need.
    """
    batch, longest = labels.shape
    state = torch.full((batch, 2 * longest + 1), BLANK, device=labels.device)  # blanks before, between and after labels
    state[:, 1::2] = labels
    emitted = log_probs.gather(2, state.unsqueeze(1).expand(-1, log_probs.shape[1], -1))
    # a label may follow a different one without a blank between
    leap = torch.full_like(emitted[:, 0], NEVER)
    leap[:, 3::2] = torch.where(labels[:, 1:] == labels[:, :-1], NEVER, 0.0)
    score = torch.full_like(leap, NEVER)
    score[:, :2] = emitted[:, 0, :2]
    moves = []
    for at_position in emitted.unbind(1)[1:]:
        reached = [score, F.pad(score, (1, -1), value=NEVER), F.pad(score, (2, -2), value=NEVER) + leap]
        score, move = torch.stack(reached).max(0)
        score = score + at_position
        moves.append(move)
    end = 2 * counts.to(labels.device).unsqueeze(1)
    ends = torch.cat([end, (end - 1).clamp(min=0)], 1)
    here = ends.gather(1, score.gather(1, ends).argmax(1, keepdim=True))
    path = [here]
    for move in reversed(moves):
        here = here - move.gather(1, here)
        path.append(here)
    taken = torch.cat(path[::-1], 1).unsqueeze(2) == torch.arange(1, 2 * longest, 2, device=labels.device)
    return emitted[:, :, 1::2].masked_fill(~taken, -torch.inf).argmax(1)
