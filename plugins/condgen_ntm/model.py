"""Models that map sequences of bits to others: the neural Turing machine (Graves et al. 2014) and an LSTM for comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from condgen_cli.errors import InputError, UsageError
from condgen_cli.generation import AttentionMap, Axis, Generation
from condgen_cli.model import Item, Predictor
from condgen_cli.render.tape import Tape
from condgen_cli.training import check
from condgen_ntm.bit_tasks import TASKS, find_sizes
from condgen_ntm.data import as_item
from condgen_ntm.machine import Machine, MemoryRecord
from condgen_ntm.sequences import BitSequence, Floats, Sequences, bit_text

__all__ = ["BitBatch", "NtmConfig", "NtmModel", "build"]


class NtmConfig(BaseModel):
    """Options of the models.

    Args:
        task: ``copy``, ``repeat-copy``, ``associative-recall``, ``n-grams`` or ``priority-sort``.
        kind: ``ntm``, or ``lstm`` for a network without an external memory.
        hidden_size: units of the controller, or of each LSTM layer.
        layers: layers of the LSTM; only with ``kind = "lstm"``.
        controller: ``lstm`` or ``feedforward``.
        read_heads, write_heads, slots, slot_size, addressing, shifts: see ``Machine``.
        initial_memory: ``constant`` (1e-6) or ``learned``.
        clip: bound of the absolute value of output logits.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Literal["copy", "repeat-copy", "associative-recall", "n-grams", "priority-sort"]
    kind: Literal["ntm", "lstm"] = "ntm"
    hidden_size: int = Field(100, ge=1)
    layers: int = Field(1, ge=1)
    controller: Literal["lstm", "feedforward"] = "lstm"
    read_heads: int = Field(1, ge=1)
    write_heads: int = Field(1, ge=1)
    slots: int = Field(128, ge=1)
    slot_size: int = Field(20, ge=1)
    addressing: Literal["full", "simple"] = "full"
    shifts: int = Field(1, ge=0)
    initial_memory: Literal["constant", "learned"] = "constant"
    clip: float = Field(20.0, gt=0)

    @model_validator(mode="after")
    def _check_options(self) -> NtmConfig:
        if self.addressing == "simple" and self.initial_memory == "constant":
            raise ValueError("simple addressing needs slots that differ: initial_memory must be learned")
        if 2 * self.shifts >= self.slots:
            raise ValueError("shifts wrap around the memory: slots must be more than twice as many")
        return self


class BitBatch(NamedTuple):
    """A batch of sequences.

    Args:
        inputs: (steps, batch, channels), zero where padded.
        read: steps of each sequence.
        answers: output steps of each sequence, its last ones.
        targets: target vectors of each sequence, as texts of bits.
        warnings: warnings for each sequence.
        doubts: doubt of each output, see ``condgen_cli.generation.Generation``.
    """

    inputs: Tensor
    read: list[int]
    answers: list[int]
    targets: list[list[str]]
    warnings: list[tuple[str, ...]]
    doubts: list[str]


class NtmModel(Predictor):
    """Reads a sequence of bits and writes another: a neural Turing machine, or an LSTM."""

    def __init__(self, config: NtmConfig) -> None:
        super().__init__()
        self.config = config
        self.task = TASKS[config.task]
        if config.kind == "lstm":
            self.lstm = nn.LSTM(self.task.inputs, config.hidden_size, config.layers)
            size = config.hidden_size
        else:
            self.machine = Machine(
                self.task.inputs,
                config.hidden_size,
                recurrent=config.controller == "lstm",
                read_heads=config.read_heads,
                write_heads=config.write_heads,
                slots=config.slots,
                slot_size=config.slot_size,
                addressing=config.addressing,
                shifts=config.shifts,
                learned_memory=config.initial_memory == "learned",
            )
            size = self.machine.size
        self.output = nn.Linear(size, self.task.outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (steps, batch, outputs) for inputs (steps, batch, channels), at every step."""
        return self._run(inputs, record=False)[0]

    def _run(self, inputs: Tensor, record: bool) -> tuple[Tensor, MemoryRecord | None]:
        if self.config.kind == "lstm":
            found, kept = self.lstm(inputs)[0], None
        else:
            found, kept = self.machine(inputs, record)
        return self.output(found).clamp(-self.config.clip, self.config.clip), kept

    def collate(self, items: Sequence[Item]) -> BitBatch:
        """Tensors of the items' sequences.

        Raises:
            InputError: if one belongs to another task.
        """
        sequences = [self._check_task(item.condition) for item in items]
        steps = max(len(sequence.inputs) for sequence in sequences)
        inputs = torch.zeros(steps, len(sequences), self.task.inputs)
        for row, sequence in enumerate(sequences):
            inputs[: len(sequence.inputs), row] = torch.from_numpy(sequence.inputs)
        read = [len(sequence.inputs) for sequence in sequences]
        answers = [len(sequence.targets) for sequence in sequences]
        doubts = [_doubt(sequence) for sequence in sequences]
        targets = [bit_text(sequence.targets).split() for sequence in sequences]
        return BitBatch(inputs, read, answers, targets, [self._warnings(sequence) for sequence in sequences], doubts)

    def _check_task(self, sequence: BitSequence) -> BitSequence:
        if sequence.task != self.task.name:
            raise InputError(f"the model is for {self.task.name}, not for {sequence.task}", f"condgen ntm {self.task.name}")
        return sequence

    def _warnings(self, sequence: BitSequence) -> tuple[str, ...]:
        before = sequence.inputs[: len(sequence.inputs) - len(sequence.targets), list(self.task.flags)]
        stored = 0 if self.task.online else int((~before.any(1)).sum())
        if self.config.kind == "lstm" or stored <= self.config.slots:
            return ()
        return (f"{stored} vectors to remember are more than the memory's {self.config.slots} slots",)

    def predict(self, batch: BitBatch) -> list[Generation]:
        """The output for each sequence.

        ``output`` is a text of bits, ``01101001 11010010``, and ``tokens`` are its vectors. ``details`` holds ``target``, the
        target vectors; ``errors``, the wrong bits as ``{"step": 3, "bit": 0}``, counted from 0; and ``probabilities``, that of
        a 1 for each bit. Attention maps are ``read`` and ``write``, [steps, slots], or [steps, heads, slots] for several.
        """
        logits, recorded = self._run(batch.inputs, record=True)
        chances = logits.sigmoid().cpu().numpy()
        inputs = batch.inputs.cpu().numpy()
        weights = None if recorded is None else recorded.weights.cpu().numpy()
        return [
            self._generation(
                inputs[:steps, row],
                chances[steps - answers : steps, row],
                None if weights is None else weights[:steps, row],
                batch.targets[row],
                batch.warnings[row],
                batch.doubts[row],
            )
            for row, (steps, answers) in enumerate(zip(batch.read, batch.answers, strict=True))
        ]

    def parts(self, item: Item) -> tuple[Axis, ...]:
        """The input's steps, without those at which only the output is written."""
        sequence: BitSequence = item.condition
        count = len(sequence.inputs) - (0 if self.task.online else len(sequence.targets))
        return (Axis("step", "tokens", self._labels(sequence.inputs[:count], ())),)

    def occlude(self, item: Item, hidden: NDArray[np.bool_]) -> list[Item]:
        """Copies of the sequence with all bits 0 at the hidden steps; flags stay."""
        sequence: BitSequence = item.condition
        inputs = np.repeat(sequence.inputs[None], len(hidden), 0)
        inputs[:, : hidden.shape[1], : self.task.bits] *= ~hidden[:, :, None]
        return [replace(item, condition=sequence._replace(inputs=one)) for one in inputs]

    def score(self, batch: BitBatch, outputs: Sequence[Sequence[str]]) -> list[Floats]:
        """Log-probabilities (vectors,) of output vectors, given as texts of bits.

        Raises:
            UsageError: if one has another number of vectors or bits than the model writes.
        """
        logits = self._run(batch.inputs, record=False)[0].cpu()
        found = []
        for row, (output, steps, answers) in enumerate(zip(outputs, batch.read, batch.answers, strict=True)):
            if len(output) != answers or any(len(vector) != self.task.outputs or set(vector) - {"0", "1"} for vector in output):
                raise UsageError(f"the output has {answers} vectors of {self.task.outputs} bits")
            signs = torch.tensor([[1.0 if bit == "1" else -1.0 for bit in vector] for vector in output])
            found.append(F.logsigmoid(signs * logits[steps - answers : steps, row]).sum(1).numpy())
        return found

    def _generation(
        self,
        inputs: Floats,
        chances: Floats,
        weights: Floats | None,
        target: list[str],
        warnings: tuple[str, ...],
        doubt: str,
    ) -> Generation:
        bits = (chances > 0.5).astype(np.uint8)
        log_probs = np.log(np.maximum(chances, 1 - chances)).sum(1)
        output = bit_text(bits)
        tokens = tuple(output.split())
        return Generation(
            output=output,
            tokens=tokens,
            log_probs=log_probs,
            score=float(log_probs.sum()),
            attention={} if weights is None else self._maps(weights, self._labels(inputs, tokens)),
            details={
                "target": target,
                "errors": _errors(tokens, target),
                "probabilities": chances.astype(float).round(9).tolist(),
            },
            warnings=warnings,
            doubt=doubt,
        )

    def _maps(self, weights: Floats, labels: tuple[str, ...]) -> dict[str, AttentionMap]:
        steps = Axis("step", "tokens", labels)
        slots = Axis.numbered("slot", "slots", self.config.slots)
        maps = {}
        for name, heads in zip(("read", "write"), np.split(weights, [self.config.read_heads], 1), strict=True):
            axes = (steps, Axis.numbered("head", "heads", heads.shape[1]), slots)
            several = heads.shape[1] > 1
            maps[name] = AttentionMap(heads if several else heads[:, 0], axes if several else (steps, slots))
        return maps

    def _labels(self, inputs: Floats, tokens: Sequence[str]) -> tuple[str, ...]:
        """A label for each step: the input bits, then the priority in tenths of its range (0 to 9) if there is one; ``|`` for a
        flag; and after ``>`` the output bits."""
        read = ["".join("01"[int(bit)] for bit in vector[: self.task.bits]) for vector in inputs]
        if self.task.priority is not None:
            tenths = np.floor(5 * (inputs[:, self.task.priority] + 1)).clip(0, 9)
            read = [f"{bits} {tenth:.0f}" for bits, tenth in zip(read, tenths, strict=True)]
        flagged = [bool(vector[list(self.task.flags)].any()) for vector in inputs]
        labels = ["|" if flag else bits for flag, bits in zip(flagged, read, strict=True)]
        for step, token in enumerate(tokens, len(labels) - len(tokens)):
            labels[step] = f"{labels[step] if self.task.online else ''}>{token}"
        return tuple(labels)

    @torch.inference_mode()
    def condition(self, item: Item) -> Tape | None:
        """The memory at each step, for drawing. The sequence is run once more for it."""
        if self.config.kind == "lstm":
            return None
        inputs = self.collate([item]).inputs.to(self.output.weight.device)
        _, recorded = self._run(inputs, record=True)
        assert recorded is not None
        return Tape(*(part[:, 0].cpu().numpy() for part in (recorded.contents, recorded.erase, recorded.add)))

    def length(self, item: Item) -> int:
        """Number of steps, by which batches are sorted."""
        return len(item.condition.inputs)

    def example(self) -> Item:
        """A sequence of the greatest size that the paper trains on, for counting operations."""
        sizes = {name: high for name, (_, high) in self.task.sizes.items()}
        drawn: Sequences = self.task.draw(np.random.default_rng(0), 1, **sizes)
        return as_item(self.task, drawn, 0, "example")


def _errors(written: Sequence[str], target: Sequence[str]) -> list[dict[str, int]]:
    """Steps and bits where the output differs from the target."""
    return [
        {"step": step, "bit": bit}
        for step, (one, other) in enumerate(zip(written, target, strict=True))
        for bit, pair in enumerate(zip(one, other, strict=True))
        if pair[0] != pair[1]
    ]


def _doubt(sequence: BitSequence) -> str:
    """A note if a sequence's size is outside the range trained on, else empty."""
    beyond = []
    for name, size in find_sizes(sequence).items():
        low, high = TASKS[sequence.task].sizes[name]
        if not low <= size <= high:
            beyond.append(f"{name} {size}, trained on {f'{low} to {high}' if low < high else low}")
    return f"beyond its training: {'; '.join(beyond)}" if beyond else ""


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> NtmModel:
    """The model of a manifest entry or a run, without its weights.

    Raises:
        UsageError: for unknown or impossible options.
    """
    return NtmModel(check(NtmConfig, config, source="ntm model"))
