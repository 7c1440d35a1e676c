"""The training objective of the memory networks: cross-entropy of the answers, for every restart."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from condgen_cli import training
from condgen_qa.model import QaModel
from condgen_qa.stories import Stories

__all__ = ["Objective", "TrainingBatch"]


class TrainingBatch(NamedTuple):
    """Questions with their stories, and indices of their answers (batch,); -1 for an answer unknown to the model."""

    stories: Stories
    answers: Tensor


class Objective(training.Objective):
    """Cross-entropy, summed over restarts, so that each is trained as it would be alone.

    Args:
        model: the networks.
        linear_start: initial share of the training without softmax in the attention (Sukhbaatar et al. 2015, section 4.2; they
            end it when the dev loss stops falling, which with large steps is a matter of chance).
        memory: weight of the latest step in the moving average ``training_loss``.
        clip: bound of the gradient norm of each parameter of each restart; 0: none.
    Attributes:
        training_loss: (restarts,) moving average of the loss.
        linear: whether attention is without softmax now.
    """

    training_loss: Tensor

    def __init__(self, model: QaModel, linear_start: float, memory: float, clip: float = 0.0) -> None:
        super().__init__()
        self.model = model
        if clip:
            for parameter in model.parameters():
                parameter.register_hook(partial(_clip_gradient, clip))  # type: ignore[no-untyped-call]
        self.memory = memory
        many = model.config.restarts
        self.register_buffer("training_loss", torch.full((many,), float("inf")))
        self.linear_start = linear_start
        self.linear = linear_start > 0

    def forward(self, batch: TrainingBatch) -> tuple[Tensor, dict[str, float]]:
        """The sum of the losses, and statistics with the best restart's loss."""
        logits = self.model(batch.stories, self.linear).logits
        many, count, _ = logits.shape
        answers = batch.answers.repeat(many)
        losses = F.cross_entropy(logits.flatten(0, 1), answers, reduction="none").view(many, count).mean(1)
        if self.training:
            now = losses.detach()
            before = torch.where(self.training_loss.isinf(), now, self.training_loss)
            self.training_loss.copy_(torch.lerp(before, now, self.memory))
        return losses.sum(), {"tokens": count, "best": float(losses.detach().min())}

    def set_progress(self, fraction: float) -> None:
        self.linear = fraction < self.linear_start

    @property
    def best(self) -> int:
        """The restart with the smallest training loss."""
        return int(self.training_loss.argmin())


def _clip_gradient(clip: float, gradient: Tensor) -> Tensor:
    """Scale each restart's part down to the norm ``clip`` if its norm is larger."""
    lengths = gradient.flatten(1).norm(dim=1).view(-1, *[1] * (gradient.dim() - 1))
    return gradient * (clip / lengths.clamp(min=clip))
