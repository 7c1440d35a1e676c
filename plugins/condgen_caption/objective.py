"""The training objectives: label-smoothed cross-entropy with doubly stochastic attention, or negative expected reward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from condgen_caption.model import Captioner
from condgen_caption.reward import CiderReward, bleu_reward
from condgen_cli.running.decoding import Decoding, decode
from condgen_cli.training import Objective, Options
from condgen_cli.training.batches import teacher_forcing

__all__ = ["CrossEntropy", "ExpectedReward", "ObjectiveOptions", "TrainingBatch", "make_objective"]


class ObjectiveOptions(Options):
    """``[objective]`` of a recipe.

    Args:
        kind: ``cross-entropy``, or ``reward`` for self-critical training on CIDEr-D plus ``bleu`` times sentence BLEU-4.
        label_smoothing, doubly_stochastic: options of ``CrossEntropy``.
        samples, temperature: number and temperature of the captions sampled for each photo or clip by ``reward``.
        bleu: weight of sentence BLEU-4 in the reward.
    """

    kind: Literal["cross-entropy", "reward"] = "cross-entropy"
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    doubly_stochastic: float = Field(0.0, ge=0)
    samples: int = Field(5, ge=2)
    temperature: float = Field(1.0, gt=0)
    bleu: float = Field(0.0, ge=0)


def make_objective(
    model: Captioner, cut: int, options: ObjectiveOptions, corpus: Sequence[Sequence[Sequence[int]]], max_length: int
) -> Objective:
    """The objective of a recipe's options.

    Args:
        model, cut: as in ``CrossEntropy``.
        options: ``[objective]`` of the recipe.
        corpus: training captions of each photo or clip as token ids, for the document frequencies of CIDEr-D.
        max_length: length limit of a sample, in tokens.
    """
    if options.kind == "cross-entropy":
        return CrossEntropy(model, cut, options.label_smoothing, options.doubly_stochastic)
    eos = model.vocabulary.eos
    cider = CiderReward([[[*caption, eos] for caption in captions] for captions in corpus])

    def reward(references: Sequence[Sequence[int]], captions: Sequence[Sequence[int]]) -> list[float]:
        both = zip(cider(references, captions), bleu_reward(references, captions), strict=True)
        return [first + options.bleu * second for first, second in both]

    return ExpectedReward(model, cut, reward, options.samples, options.temperature, max_length)


@dataclass(frozen=True)
class TrainingBatch:
    """Photos with their captions.

    Args:
        features: input of the model's ``recall``: cached encoder maps of photos (photos, channels, h, w), see ``features.py``;
            or the ``FrameVectors`` of clips.
        inputs: (photos · captions, steps) input tokens, bos first, grouped by photo.
        targets: (photos · captions, steps) target tokens, eos last.
        lengths: (photos · captions,) steps without padding, on the CPU.
        photos: (photos,) index of each photo in its split.
    """

    features: Any
    inputs: Tensor
    targets: Tensor
    lengths: Tensor
    photos: Tensor

    def references(self) -> list[list[list[int]]]:
        """The captions of each photo as token ids, eos last."""
        rows = [row[:length] for row, length in zip(self.targets.tolist(), self.lengths.tolist(), strict=True)]
        each = len(rows) // len(self.photos)
        return [rows[start : start + each] for start in range(0, len(rows), each)]

    def to(self, device: torch.device | str, **options: object) -> TrainingBatch:
        """The batch on a device; lengths stay on the CPU, where steps are planned."""
        features = self.features
        moved = features.to(device) if isinstance(features, Tensor) else features._replace(vectors=features.vectors.to(device))
        return replace(self, features=moved, inputs=self.inputs.to(device), targets=self.targets.to(device))


class CrossEntropy(Objective):
    """Teacher-forced cross-entropy per token, plus a penalty on cells whose summed attention differs from the mean.

    The penalty is that of Xu et al. 2015, eq. 14, with the mean over the cells as target instead of 1, which can't be reached
    with more cells than words.

    Args:
        model: the caption model.
        cut: encoder stage whose input ``TrainingBatch.features`` holds; the stages from it on run here.
        label_smoothing: share of the target distribution spread over the vocabulary.
        doubly_stochastic: weight λ of the penalty.
    """

    def __init__(self, model: Captioner, cut: int, label_smoothing: float = 0.1, doubly_stochastic: float = 1.0) -> None:
        super().__init__()
        self.model = model
        self.cut = cut
        self.label_smoothing = label_smoothing
        self.doubly_stochastic = doubly_stochastic

    def forward(self, batch: TrainingBatch) -> tuple[Tensor, dict[str, float]]:
        """Loss per token, and the number of tokens."""
        memory = self.model.recall(batch.features, self.cut)
        forced = self.model.decoder(memory, batch.inputs, batch.lengths)
        loss = self.model.decoder.cross_entropy(forced, batch.targets, self.label_smoothing)
        stats = {"tokens": float(len(forced.kept)), "cross_entropy": loss.item()}
        if forced.attended is not None and self.doubly_stochastic:
            even = forced.attended.mean(1, keepdim=True)
            loss = loss + self.doubly_stochastic * ((forced.attended - even) ** 2).sum(1).mean()
        return loss, stats


Reward = Callable[[Sequence[Sequence[int]], Sequence[Sequence[int]]], list[float]]
"""``reward(references, captions)``: the reward of each caption of one photo or clip; token ids, end tokens included."""


class ExpectedReward(Objective):
    """Self-critical training (Rennie et al. 2017): the negative expected reward, by REINFORCE over sampled captions.

    The baseline of each sample is the mean reward of the photo's other samples (Luo 2020). The end token of a sample truncated
    at ``max_length`` wasn't chosen by the model and has no gradient: otherwise it would become ever less probable, and ever
    more samples would be truncated.

    Args:
        model: the caption model.
        cut: as in ``CrossEntropy``.
        reward: reward function of captions.
        samples: captions sampled for each photo, at least 2.
        temperature: temperature of the policy softmax(logits / temperature), in sampling and in the gradient. After training
            with label smoothing, samples at 1 are far worse than beam search; below 1 they come close.
        max_length: length limit of a sample, in tokens.
    """

    def __init__(
        self, model: Captioner, cut: int, reward: Reward, samples: int = 5, temperature: float = 1.0, max_length: int = 20
    ) -> None:
        super().__init__()
        self.model = model
        self.cut = cut
        self.reward = reward
        self.decoding = Decoding(method="sample", nbest=samples, temperature=temperature, max_length=max_length)

    def forward(self, batch: TrainingBatch) -> tuple[Tensor, dict[str, float]]:
        """Loss per token, the number of tokens, and the mean reward."""
        model, vocabulary, samples = self.model, self.model.vocabulary, self.decoding.nbest
        memory = model.recall(batch.features, self.cut)
        drawn = decode(model, memory, self.decoding)
        captions = [sorted((h.ids[:-1] for h in found), key=len, reverse=True) for found in drawn]
        ended = [[caption if self._cut(caption) else [*caption, vocabulary.eos] for caption in found] for found in captions]
        rewards = torch.tensor(list(map(self.reward, batch.references(), ended)))
        others = (rewards.sum(1, keepdim=True) - rewards) / (samples - 1)
        advantage = (rewards - others).flatten().to(batch.inputs.device)
        rows = [caption for found in captions for caption in found]
        inputs, targets, lengths = teacher_forcing(rows, vocabulary.bos, vocabulary.eos, vocabulary.pad)
        inputs, targets = inputs.to(batch.inputs.device), targets.to(batch.inputs.device)
        forced = model.decoder(memory, inputs, lengths)
        written = targets.flatten().index_select(0, forced.kept)
        logits = model.decoder.logits(forced.features) / self.decoding.temperature
        # never sampled: without the mask, probability taken from bad captions would go to them
        logits[:, [vocabulary.pad, vocabulary.bos, vocabulary.unk]] = -torch.inf
        losses = F.cross_entropy(logits, written, reduction="none")
        chosen = forced.kept % inputs.shape[1] < self.decoding.max_length
        loss = (losses * chosen * advantage.index_select(0, forced.kept // inputs.shape[1])).mean()
        return loss, {"tokens": float(len(written)), "reward": float(rewards.mean())}

    def _cut(self, caption: list[int]) -> bool:
        return len(caption) == self.decoding.max_length
