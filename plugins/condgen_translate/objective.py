"""The training objective: label-smoothed cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from condgen_cli.model import Memory
from condgen_cli.training import Objective
from condgen_translate.model import Sentences, TranslateModel

__all__ = ["CrossEntropy", "TrainingBatch"]


@dataclass(frozen=True)
class TrainingBatch:
    """Sentence pairs.

    Args:
        sources: source sentences.
        inputs: (rows, steps) input tokens of the decoder, bos first.
        targets: (rows, steps) target tokens, eos last.
        lengths: (rows,) steps without padding, on the CPU.
    """

    sources: Sentences
    inputs: Tensor
    targets: Tensor
    lengths: Tensor

    def to(self, device: torch.device | str, **options: object) -> TrainingBatch:
        """The batch on a device; lengths stay on the CPU, where steps are planned."""
        return replace(self, sources=self.sources.to(device), inputs=self.inputs.to(device), targets=self.targets.to(device))


class CrossEntropy(Objective):
    """Teacher-forced cross-entropy per token.

    Args:
        model: the translation model.
        label_smoothing: share of the target distribution spread over the vocabulary (Szegedy et al. 2016).
    """

    def __init__(self, model: TranslateModel, label_smoothing: float = 0.1) -> None:
        super().__init__()
        self.model = model
        self.label_smoothing = label_smoothing

    def forward(self, batch: TrainingBatch) -> tuple[Tensor, dict[str, float]]:
        """Loss per token, and the number of tokens."""
        memory: Memory = self.model.encode(batch.sources)
        forced = self.model.decoder(memory, batch.inputs, batch.lengths)
        loss = self.model.decoder.cross_entropy(forced, batch.targets, self.label_smoothing)
        return loss, {"tokens": float(len(forced.kept))}
