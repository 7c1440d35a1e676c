"""The training objective: cross-entropy of the speller and CTC losses of the listener (Kim et al. 2017, eq. 13), guided
attention (Tachibana et al. 2018), and agreement of attention with the CTC alignment."""

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
"""Width g of guided attention's diagonal band, as a share of an utterance."""
NEAR = 2
"""Positions on either side of a token's CTC alignment that count as aligned."""
LITTLE = 1e-6
"""Added to aligned attention before its logarithm is taken."""


class Phones(NamedTuple):
    """Phones of utterances.

    Args:
        numbers: (rows, longest) phone numbers of ``condgen_transcribe.pronunciation.number_phones``, 0 at padding.
        lengths: (rows,) numbers of phones, on the CPU.
    """

    numbers: Tensor
    lengths: Tensor


def pad_phones(phones: Sequence[Tensor]) -> Phones:
    """A batch of phone numbers (length,) of utterances."""
    lengths = torch.tensor([len(one) for one in phones])
    return Phones(nn.utils.rnn.pad_sequence(list(phones), batch_first=True, padding_value=BLANK), lengths)


@dataclass(frozen=True)
class TrainingBatch:
    """Utterances with their transcripts.

    Args:
        speech: the utterances.
        inputs: (rows, steps) input tokens of the speller, bos first.
        targets: (rows, steps) target tokens, eos last.
        lengths: (rows,) steps without padding, on the CPU.
        phones: phones of the utterances; None for a model without an output layer of phones.
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
    """(1 - λ) · (cross-entropy + γ · guided attention + δ · alignment) + λ · CTC, per token, + ε · CTC of phones, per phone.

    Args:
        model: the speech model.
        ctc: weight λ of CTC; above 0 the model must have a CTC output layer. With 1 the speller isn't run.
        label_smoothing: share of the speller's target distribution spread over the vocabulary.
        sampling: final share of the speller's inputs drawn from its own outputs (scheduled sampling, Bengio et al. 2015),
            rising from 0 over the first half of training. They are drawn from a first, teacher-forced run, all steps at once
            (Duckworth et al. 2019).
        guidance: weight γ of guided attention. Speech has a roughly even pace, so keeping attention near the diagonal helps the
            speller to find the alignment sooner.
        alignment: weight δ of the loss for attention away from the CTC alignment; for a listener trained with CTC already.
        phones: weight ε; above 0 the model must have an output layer of phones.
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
        # parameters without a part in the loss get no gradients, for which distributed processes would wait
        model.decoder.requires_grad_(ctc < 1)
        if model.ctc is not None:
            model.ctc.requires_grad_(ctc > 0)
        if model.phones is not None:
            model.phones.requires_grad_(phones > 0)

    def set_progress(self, fraction: float) -> None:
        self.probability = sampling_probability(fraction, self.sampling, end=0.5)

    def forward(self, batch: TrainingBatch) -> tuple[Tensor, dict[str, float]]:
        """Loss per token, and statistics with the number of tokens."""
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
            labels = batch.lengths - 1  # CTC has no end token
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
        """Inputs of which a share is drawn from the speller's own predictions."""
        decoder = self.model.decoder
        forced = decoder(memory, batch.inputs, batch.lengths)
        drawn = decoder.logits(forced.features).softmax(-1).multinomial(1).squeeze(1)
        # a prediction is the input of the next step, if there is one
        steps = batch.inputs.shape[1]
        lengths = batch.lengths.to(drawn.device)
        within = (forced.kept % steps + 1 < lengths[forced.kept // steps]).nonzero().squeeze(1)
        within = within[torch.rand(len(within), device=drawn.device) < self.probability]
        places = forced.kept.index_select(0, within) + 1
        return batch.inputs.flatten().index_copy(0, places, drawn.index_select(0, within)).view_as(batch.inputs)


def _ctc(log_probs: Tensor, mask: Tensor | None, labels: Tensor, counts: Tensor) -> Tensor:
    """CTC loss summed over utterances; an utterance with too few positions for its labels counts as 0."""
    assert mask is not None
    positions = mask.sum(1).cpu()
    return F.ctc_loss(log_probs.transpose(0, 1), labels, positions, counts, BLANK, reduction="sum", zero_infinity=True)


def _guidance_loss(forced: TeacherForced, memory: Memory, batch: TrainingBatch) -> Tensor:
    """Guided attention: mean over steps of Σₜ αₙₜ · (1 - exp(-(n/N - t/T)² / 2g²)), for N steps and T positions."""
    assert forced.weights is not None
    assert memory.mask is not None
    steps = batch.inputs.shape[1]
    rows = forced.kept // steps
    step = (forced.kept % steps) / batch.lengths.to(rows.device)[rows]
    position = torch.arange(memory.mask.shape[1], device=rows.device) / memory.mask.sum(1, keepdim=True)
    distance = step.unsqueeze(1) - position[rows]
    return (forced.weights * (1 - (-((distance / BAND) ** 2) / 2).exp())).sum(1).mean()


def _alignment_loss(forced: TeacherForced, memory: Memory, batch: TrainingBatch) -> Tensor:
    """Mean over steps of -log Σₜ αₙₜ, with t near the CTC alignment of token n; the end token is aligned as the last token."""
    assert forced.weights is not None
    steps = batch.inputs.shape[1]
    labels = (batch.lengths - 1).to(batch.targets.device)
    beyond = torch.arange(steps, device=labels.device) >= labels.unsqueeze(1)
    heard = align_labels(memory.auxiliary["ctc"], batch.targets.masked_fill(beyond, BLANK), labels)
    last = heard.gather(1, (labels - 1).clamp(min=0).unsqueeze(1))
    place = torch.where(beyond, last, heard).flatten()[forced.kept].unsqueeze(1)
    near = (torch.arange(forced.weights.shape[1], device=place.device) - place).abs() <= NEAR
    return -((forced.weights * near).sum(1) + LITTLE).log().mean()
