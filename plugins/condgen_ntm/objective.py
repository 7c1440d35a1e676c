"""The training objective: cross-entropy of the target bits."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from condgen_cli import training
from condgen_ntm.model import NtmModel

__all__ = ["Objective"]


class Objective(training.Objective):
    """Cross-entropy per sequence in nats, averaged over the batch; also logged in bits, with the wrong bits per sequence."""

    def __init__(self, model: NtmModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor | int]]:
        """Loss and statistics of inputs (steps, batch, channels) and targets (answers, batch, outputs), both floats."""
        inputs, targets = batch
        logits = self.model(inputs)[len(inputs) - len(targets) :]
        count = inputs.shape[1]
        loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / count
        with torch.no_grad():
            errors = ((logits > 0) != (targets > 0.5)).sum() / count
        stats = {"tokens": count, "bits_per_sequence": loss.detach() / math.log(2), "bit_errors": errors}
        return loss, stats
