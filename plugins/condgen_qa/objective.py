"""What the memory networks are trained for: the answers' cross-entropy, of every restart."""

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
    """Questions and the places of their answers among the model's, (batch,); -1 for one that it doesn't have."""

    stories: Stories
    answers: Tensor


class Objective(training.Objective):
    """Cross-entropy, summed over restarts so that each learns as it would alone.

    Args:
        model: the networks.
        linear_start: share of the training, at its beginning, without softmax in the attention (Sukhbaatar et al. 2015, section
            4.2, who end it when the loss on the dev split stops falling: that is a matter of chance where steps are large).
        memory: how much of the latest step goes into ``training_loss``.
        clip: the longest gradient that each parameter of each restart takes; 0 for any.
    Attributes:
        training_loss: (restarts,) a moving average.
        linear: True while there is no softmax.
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
        """The sum of the losses; stats have the best restart's."""
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
    """Each restart's part scaled down to the length ``clip`` if it is longer."""
    lengths = gradient.flatten(1).norm(dim=1).view(-1, *[1] * (gradient.dim() - 1))
    return gradient * (clip / lengths.clamp(min=clip))
