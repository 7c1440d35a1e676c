"""What is minimised: the speller's cross-entropy and the listener's CTC losses (Kim et al. 2017, eq. 13), how far from the
diagonal the speller listens (Tachibana et al. 2018), and how much of it listens elsewhere than where CTC hears the token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condgen_cli import training
from condgen_cli.model import Memory
from condgen_cli.nn.decoder import TeacherForced
from condgen_cli.training import sampling_probability
from condgen_transcribe.ctc import BLANK, align_labels
from condgen_transcribe.model import Speech, TranscribeModel

__all__ = ["Objective", "Phones", "TrainingBatch", "pad_phones"]

BAND = 0.1
"""Half the width of the diagonal within which listening costs little, as a share of an utterance."""
NEAR = 2
"""Positions to either side of where CTC hears a token that are there as well."""
LITTLE = 1e-6
"""Attention that is counted where there is none."""


class Phones(NamedTuple):
    """Utterances as they are said.

    Args:
        numbers: (rows, longest) of ``condgen_transcribe.pronunciation.numbered``, 0 where padded.
        lengths: (rows,) real ones of each row, on the CPU.
    """

    numbers: Tensor
    lengths: Tensor


def pad_phones(phones: Sequence[Tensor]) -> Phones:
    """Numbers of phones (length,) of utterances as a batch."""
    lengths = torch.tensor([len(one) for one in phones])
    return Phones(nn.utils.rnn.pad_sequence(list(phones), batch_first=True, padding_value=BLANK), lengths)


@dataclass(frozen=True)
class TrainingBatch:
    """Utterances and what is said in them.

    Args:
        speech: the utterances.
        inputs: (rows, steps) tokens that the speller reads, bos first.
        targets: (rows, steps) tokens to write, eos last.
        lengths: (rows,) real steps of each row, on the CPU.
        phones: how it is said; None for a model that hears no phones.
    """

    speech: Speech
    inputs: Tensor
    targets: Tensor
    lengths: Tensor
    phones: Phones | None = None

    def to(self, device: torch.device | str, **options: object) -> TrainingBatch:
        """The batch on a device; lengths stay on the CPU, where steps are planned."""
        phones = None if self.phones is None else self.phones._replace(numbers=self.phones.numbers.to(device))
        return replace(
            self,
            speech=self.speech.to(device),
            inputs=self.inputs.to(device),
            targets=self.targets.to(device),
            phones=phones,
        )


class Objective(training.Objective):
    """(1 - λ) · (cross-entropy + γ · guidance + δ · alignment) + λ · CTC, each per token, + ε · CTC of phones, per phone.

    Args:
        ctc: λ; the model must have the listener's own output layer. With 1 the speller doesn't run.
        label_smoothing: share of the speller's target spread over the vocabulary.
        sampling: share of the speller's inputs that are its own outputs at the end of training (Bengio et al. 2015), rising
            from 0 over the training's first half. They are drawn from a first, teacher-forced run, all steps at once
            (Duckworth et al. 2019).
        guidance: γ, what attention off the diagonal costs: people speak at an even pace, more or less, and a speller that
            knows so from the start finds out sooner what to listen to.
        alignment: δ, what attention costs that isn't where CTC hears the token, for a listener that has learnt to hear.
        phones: ε; the model must have an output layer of phones.
    """

    def __init__(
        self,
        model: TranscribeModel,
        ctc: float = 0.3,
        label_smoothing: float = 0.1,
        sampling: float = 0.0,
        guidance: float = 0.0,
        alignment: float = 0.0,
        phones: float = 0.0,
    ) -> None:
        super().__init__()
        self.model = model
        self.ctc = ctc
        self.label_smoothing = label_smoothing
        self.sampling = sampling
        self.guidance = guidance
        self.alignment = alignment
        self.phones = phones
        self.probability = 0.0
        # what has no part in the loss gets no gradients, which several processes would wait for
        model.decoder.requires_grad_(ctc < 1)
        if model.ctc is not None:
            model.ctc.requires_grad_(ctc > 0)
        if model.phones is not None:
            model.phones.requires_grad_(phones > 0)

    def set_progress(self, fraction: float) -> None:
        self.probability = sampling_probability(fraction, self.sampling, end=0.5)

    def forward(self, batch: TrainingBatch) -> tuple[Tensor, dict[str, float]]:
        """Loss per token, and how many tokens it was taken over."""
        memory = self.model.encode(batch.speech)
        tokens = int(batch.lengths.sum())
        stats = {"tokens": float(tokens)}
        losses = []
        if self.ctc < 1:
            decoder = self.model.decoder
            forced = decoder(memory, self._sample_inputs(memory, batch) if self.probability else batch.inputs, batch.lengths)
            spelled = decoder.cross_entropy(forced, batch.targets, self.label_smoothing)
            stats["cross_entropy"] = spelled.item()
            losses.append((1 - self.ctc) * spelled)
            if self.guidance:
                astray = _guidance_loss(forced, memory, batch)
                stats["astray"] = astray.item()
                losses.append((1 - self.ctc) * self.guidance * astray)
            if self.alignment:
                apart = _alignment_loss(forced, memory, batch)
                stats["apart"] = apart.item()
                losses.append((1 - self.ctc) * self.alignment * apart)
        if self.ctc:
            labels = batch.lengths - 1  # the end token is the speller's
            heard = _ctc(memory.auxiliary["ctc"], memory.mask, batch.targets, labels) / tokens
            stats["ctc"] = heard.item()
            losses.append(self.ctc * heard)
        if self.phones:
            assert batch.phones is not None
            said = _ctc(memory.auxiliary["phones"], memory.mask, *batch.phones) / batch.phones.lengths.sum()
            stats["phones"] = said.item()
            losses.append(self.phones * said)
        return torch.stack(losses).sum(), stats

    @torch.no_grad()
    def _sample_inputs(self, memory: Memory, batch: TrainingBatch) -> Tensor:
        """Inputs of which a share is drawn from what the speller would have written there."""
        decoder = self.model.decoder
        forced = decoder(memory, batch.inputs, batch.lengths)
        drawn = decoder.logits(forced.features).softmax(-1).multinomial(1).squeeze(1)
        # what was written at a step is read at the next one, if there is one
        steps = batch.inputs.shape[1]
        lengths = batch.lengths.to(drawn.device)
        within = (forced.kept % steps + 1 < lengths[forced.kept // steps]).nonzero().squeeze(1)
        within = within[torch.rand(len(within), device=drawn.device) < self.probability]
        places = forced.kept.index_select(0, within) + 1
        return batch.inputs.flatten().index_copy(0, places, drawn.index_select(0, within)).view_as(batch.inputs)


def _ctc(log_probs: Tensor, mask: Tensor | None, labels: Tensor, counts: Tensor) -> Tensor:
    """Summed over utterances; those with more labels than the listener has positions count as 0."""
    assert mask is not None
    positions = mask.sum(1).cpu()
    return F.ctc_loss(log_probs.transpose(0, 1), labels, positions, counts, BLANK, reduction="sum", zero_infinity=True)


def _guidance_loss(forced: TeacherForced, memory: Memory, batch: TrainingBatch) -> Tensor:
    """Mean over steps of Σₜ αₙₜ · (1 - exp(-(n/N - t/T)² / 2g²)), the N steps and T positions being an utterance's own."""
    assert forced.weights is not None
    assert memory.mask is not None
    steps = batch.inputs.shape[1]
    rows = forced.kept // steps
    step = (forced.kept % steps) / batch.lengths.to(rows.device)[rows]
    position = torch.arange(memory.mask.shape[1], device=rows.device) / memory.mask.sum(1, keepdim=True)
    distance = step.unsqueeze(1) - position[rows]
    return (forced.weights * (1 - (-((distance / BAND) ** 2) / 2).exp())).sum(1).mean()


def _alignment_loss(forced: TeacherForced, memory: Memory, batch: TrainingBatch) -> Tensor:
    """Mean over steps of -log Σₜ αₙₜ, t being near where CTC hears token n; the end token's place is that of the last one."""
    assert forced.weights is not None
    steps = batch.inputs.shape[1]
    labels = (batch.lengths - 1).to(batch.targets.device)
    beyond = torch.arange(steps, device=labels.device) >= labels.unsqueeze(1)
    heard = align_labels(memory.auxiliary["ctc"], batch.targets.masked_fill(beyond, BLANK), labels)
    last = heard.gather(1, (labels - 1).clamp(min=0).unsqueeze(1))
    place = torch.where(beyond, last, heard).flatten()[forced.kept].unsqueeze(1)
    near = (torch.arange(forced.weights.shape[1], device=place.device) - place).abs() <= NEAR
    return -((forced.weights * near).sum(1) + LITTLE).log().mean()
