"""Cross-entropy of a large vocabulary, without keeping what it is made from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["linear_cross_entropy"]

ROWS = 128
"""Rows whose logits are made at a time, so that they stay in a core's cache."""


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        count, size = len(features), len(weight)
        to_features, to_weight, to_bias = torch.empty_like(features), torch.zeros_like(weight), torch.zeros_like(bias)
        logits_of_rows = features.new_empty(min(ROWS, count), size)
        loss = features.new_zeros(())
        for start in range(0, count, ROWS):
            rows = features[start : start + ROWS]
            target = targets[start : start + ROWS].unsqueeze(1)
            logits = torch.addmm(bias, rows, weight.t(), out=logits_of_rows[: len(rows)])
            peak = logits.amax(1, keepdim=True)
            wanted = (1 - smoothing) * logits.gather(1, target) + smoothing * logits.mean(1, keepdim=True)
            total = logits.sub_(peak).exp_().sum(1, keepdim=True)
            loss += (total.log() + peak - wanted).sum()
            logits.div_(total * count).sub_(smoothing / (size * count))
            logits.scatter_add_(1, target, logits.new_full((len(rows), 1), (smoothing - 1) / count))
            torch.mm(logits, weight, out=to_features[start : start + ROWS])
            to_weight.addmm_(logits.t(), rows)
            to_bias += logits.sum(0)
        ctx.save_for_backward(to_features, to_weight, to_bias)
        return loss / count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return *(part * gradient for part in ctx.saved_tensors), None, None


def linear_cross_entropy(features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """``F.cross_entropy(F.linear(features, weight, bias), targets, label_smoothing=smoothing)``, a few rows at a time.

    The gradient is computed with the loss, while the logits are in the cache.
    """
    loss: Tensor = _LinearCrossEntropy.apply(features, weight, bias, targets, smoothing)  # type: ignore[no-untyped-call]
    return loss
