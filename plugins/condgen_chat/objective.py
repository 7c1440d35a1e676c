"""What is minimised: cross-entropy of the replies, some of them without their context."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from condgen_chat.dialogues import Dialogues
from condgen_chat.model import ChatModel
from condgen_cli.nn import CandidateSampler
from condgen_cli.training import Objective

__all__ = ["CrossEntropy", "Replies", "TrainingBatch"]


@dataclass(frozen=True)
class Replies:
    """Replies of like length.

    Args:
        rows: (n,) their rows of the memory.
        inputs: (n, steps) tokens that the decoder reads, bos first.
        targets: (n, steps) tokens to write, eos last.
        lengths: (n,) real steps, on the CPU.
    """

    rows: Tensor
    inputs: Tensor
    targets: Tensor
    lengths: Tensor

    def to(self, device: torch.device | str) -> Replies:
        """The replies on a device; lengths stay on the CPU, where steps are planned."""
        moved = (self.rows.to(device), self.inputs.to(device), self.targets.to(device))
        return Replies(*moved, self.lengths)


@dataclass(frozen=True)
class TrainingBatch:
    """Dialogues, each turn of which that has a context is written once.

    Args:
        dialogues: what is read; a row of the memory for each reply.
        replies: all of them, in groups of like length.
    """

    dialogues: Dialogues
    replies: tuple[Replies, ...]

    def to(self, device: torch.device | str, **options: object) -> TrainingBatch:
        """The batch on a device."""
        return replace(self, dialogues=self.dialogues.to(device), replies=tuple(part.to(device) for part in self.replies))


class CrossEntropy(Objective):
    """Teacher-forced cross-entropy per token.

    Args:
        label_smoothing: share of the target spread over the vocabulary (Szegedy et al. 2016).
        context_dropout: share of replies that are learnt without their context, so that the model also knows how likely a
            reply is in itself.
        candidates: in training, sum over a sample of the vocabulary; None: over all of it.
    """

    def __init__(
        self,
        model: ChatModel,
        label_smoothing: float = 0.0,
        context_dropout: float = 0.1,
        candidates: CandidateSampler | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.candidates = candidates
        self.label_smoothing = label_smoothing
        self.context_dropout = context_dropout

    def forward(self, batch: TrainingBatch) -> tuple[Tensor, dict[str, float]]:
        """Loss per token, and how many tokens it was taken over."""
        memory = self.model.encode(batch.dialogues)
        if self.training and self.context_dropout:
            forgotten = torch.rand(len(memory), device=memory.values.device) < self.context_dropout
            memory = self.model.forget(memory, forgotten)
        smoothing = self.label_smoothing if self.training else 0.0
        candidates = None
        if self.training and self.candidates is not None:
            targets = torch.cat([part.targets.flatten() for part in batch.replies])
            candidates = self.candidates(targets[targets != self.model.vocabulary.pad])
        decoder, losses, tokens = self.model.decoder, [], 0
        for part in batch.replies:
            forced = decoder(memory.select(part.rows), part.inputs, part.lengths)
            count = len(forced.kept)
            losses.append(decoder.cross_entropy(forced, part.targets, smoothing, candidates) * count)
            tokens += count
        return torch.stack(losses).sum() / tokens, {"tokens": float(tokens)}
