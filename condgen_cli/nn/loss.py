"""Cross-entropy over a large vocabulary: without storing all logits, and estimated from a sample of the vocabulary."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["CandidateSampler", "Candidates", "Mixture", "linear_cross_entropy", "sampled_cross_entropy"]

ROWS = 128
"""Number of rows whose logits are computed at a time, so that they stay in a core's cache."""


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        smoothing: float,
        own: Tensor | None,
        share: Tensor | None,
        elsewhere: Tensor | None,
    ) -> Tensor:
        count, size = len(features), len(weight)
        to_features, to_weight, to_bias = torch.empty_like(features), torch.zeros_like(weight), torch.zeros_like(bias)
        logits_of_rows = features.new_empty(min(ROWS, count), size)
        loss = features.new_zeros(())
        of_share = None if share is None else torch.empty_like(share)
        for start in range(0, count, ROWS):
            rows = features[start : start + ROWS]
            target = targets[start : start + ROWS].unsqueeze(1)
            logits = torch.addmm(bias, rows, weight.t(), out=logits_of_rows[: len(rows)])
            if own is not None:
                logits.scatter_add_(1, target, own[target])
            peak = logits.amax(1, keepdim=True)
            wanted = (1 - smoothing) * logits.gather(1, target) + smoothing * logits.mean(1, keepdim=True)
            total = logits.sub_(peak).exp_().sum(1, keepdim=True)
            losses = total.log() + peak - wanted
            logits.div_(total * count).sub_(smoothing / (size * count))
            logits.scatter_add_(1, target, logits.new_full((len(rows), 1), (smoothing - 1) / count))
            if share is not None:
                assert elsewhere is not None
                assert of_share is not None
                here = share[start : start + ROWS].unsqueeze(1) - losses
                losses = -torch.logaddexp(here, elsewhere[start : start + ROWS].unsqueeze(1))
                chance = (here + losses).exp_()  # posterior probability that the target comes from the softmax
                logits.mul_(chance)
                of_share[start : start + ROWS] = chance.squeeze(1)
            loss += losses.sum()
            torch.mm(logits, weight, out=to_features[start : start + ROWS])
            to_weight.addmm_(logits.t(), rows)
            to_bias += logits.sum(0)
        gradients = [to_features, to_weight, to_bias]
        if of_share is not None:
            gradients += [of_share / -count, (of_share - 1) / count]
        ctx.save_for_backward(*gradients)
        return loss / count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        to_features, to_weight, to_bias, *to_mixture = (part * gradient for part in ctx.saved_tensors)
        return to_features, to_weight, to_bias, None, None, None, *(to_mixture or (None, None))


class Mixture(NamedTuple):
    """A mixture of the softmax with another distribution: p = share · softmax + elsewhere.

    Args:
        share: (rows,) logarithm of the softmax's share.
        elsewhere: (rows,) logarithm of the other distribution's share times its probability of the target.
    """

    share: Tensor
    elsewhere: Tensor


def linear_cross_entropy(
    features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float = 0.0, mixture: Mixture | None = None
) -> Tensor:
    """``F.cross_entropy(F.linear(features, weight, bias), targets, label_smoothing=smoothing)``, a few rows at a time. With a
    ``mixture``, the cross-entropy of the mixture, without label smoothing.

    The gradient is computed together with the loss, while the logits are in the CPU's cache.
    """
    assert mixture is None or not smoothing
    return _loss(features, weight, bias, targets, smoothing, None, mixture=mixture)


def _loss(*inputs: Tensor | float | None, mixture: Mixture | None) -> Tensor:
    loss: Tensor = _LinearCrossEntropy.apply(*inputs, *(mixture or (None, None)))  # type: ignore[no-untyped-call]
    return loss


class Candidates(NamedTuple):
    """A sample of the vocabulary for one training step.

    Args:
        tokens: (n,) token ids in ascending order.
        places: (vocabulary_size,) index of each candidate in ``tokens``; undefined for other tokens.
        offsets: (n,) logarithm of each candidate's probability of being sampled.
    """

    tokens: Tensor
    places: Tensor
    offsets: Tensor


class CandidateSampler(nn.Module):
    """Samples the candidates of a step: all of its targets, and tokens drawn uniformly from the vocabulary.

    Args:
        counts: (vocabulary_size,) number of times that each token is a target in training.
        drawn: number of tokens drawn in addition to the targets.
    """

    frequencies: Tensor

    def __init__(self, counts: Tensor, drawn: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", counts / counts.sum(), persistent=False)
        self.drawn = min(drawn, len(counts))

    def forward(self, targets: Tensor) -> Candidates:
        """Candidates for targets (n,)."""
        size = len(self.frequencies)
        chosen = torch.zeros(size, dtype=torch.bool, device=targets.device)
        chosen[targets] = True
        chosen[torch.randperm(size, device=targets.device)[: self.drawn]] = True
        tokens = chosen.nonzero().squeeze(1)
        missed = (1 - self.frequencies[tokens]) ** len(targets) * (1 - self.drawn / size)
        return Candidates(tokens, chosen.cumsum(0) - 1, (1 - missed).log())


def sampled_cross_entropy(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    candidates: Candidates,
    mixture: Mixture | None = None,
) -> Tensor:
    """An estimate of ``linear_cross_entropy`` from the candidates' logits alone (Jean et al. 2015, section 3).

    The softmax's sum over the vocabulary becomes a sum over the candidates, each divided by its probability of being sampled,
    but for the target itself, which is always a candidate. The expectation of that sum is the whole sum.

    Args:
        features, weight, bias, targets, mixture: see ``linear_cross_entropy``.
        candidates: candidates, all ``targets`` among them.
    """
    tokens, places, offsets = candidates
    chosen, shifted = weight.index_select(0, tokens), bias.index_select(0, tokens) - offsets
    return _loss(features, chosen, shifted, places[targets], 0.0, offsets, mixture=mixture)
