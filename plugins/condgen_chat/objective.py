"""The training objective: cross-entropy of the replies, some of them without their context."""

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
    """Replies of similar length.

    Args:
        rows: (n,) their rows of the memory.
        inputs: (n, steps) input tokens of the decoder, bos first.
        targets: (n, steps) target tokens, eos last.
        lengths: (n,) steps without padding, on the CPU.
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
    """Dialogues, with each turn after the first as a reply.

    Args:
        dialogues: the turns read, with a row of the memory for each reply.
        replies: all replies, in groups of similar length.
    """

    dialogues: Dialogues
    replies: tuple[Replies, ...]

    def to(self, device: torch.device | str, **options: object) -> TrainingBatch:
        """The batch on a device."""
        return replace(self, dialogues=self.dialogues.to(device), replies=tuple(part.to(device) for part in self.replies))


class CrossEntropy(Objective):
    """Teacher-forced cross-entropy per token.

    Args:
        model: the dialogue model.
        label_smoothing: share of the target distribution spread over the vocabulary (Szegedy et al. 2016).
        context_dropout: share of replies trained without their context, so that the model is also a language model of replies.
        candidates: sampler of the candidates of a sampled softmax in training; None: the full softmax.
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
        """Loss per token, and the number of tokens."""
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
