"""Running a model on a batch: encoding and decoding, or prediction, and a result for each item."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from condgen_cli.errors import CondgenError
from condgen_cli.files.sources import Failure
from condgen_cli.generation import Generation
from condgen_cli.item import Content, Item
from condgen_cli.model import Memory, Predictor, SequenceModel
from condgen_cli.registry.guard import divert_stdout
from condgen_cli.running import decoding as decoders
from condgen_cli.running.attention_maps import Positions, make_generation, row_positions
from condgen_cli.running.batches import Batch, Collator, make_failure
from condgen_cli.running.decoding import Decoding, Hypothesis
from condgen_cli.running.devices import move
from condgen_cli.running.explaining import Subject, explain
from condgen_cli.running.likelihood import force_references, reference_log_probs
from condgen_cli.running.request import Request
from condgen_cli.running.results import Result
from condgen_cli.running.signs import repetition

__all__ = ["Execution"]


@dataclass
class Execution:
    """Runs a model over the batches of one stream.

    Args:
        model: on ``device``, in evaluation mode.
        device: device that batches are moved to.
        collator: makes batches of single items when a whole batch fails.
        request: the contents of results.
        decoding: the decoding settings.
        forced: token ids of the forced output, including the end token; None: the model decodes.
        purpose: the model's purpose, such as ``nic is for: photos``; empty if unknown.
        warned: whether the user was already warned of an input unlike the training data.
    """

    model: SequenceModel | Predictor
    device: torch.device
    collator: Collator
    request: Request
    decoding: Decoding
    forced: list[int] | None
    purpose: str
    warned: bool = False

    def results(self, batch: Batch) -> Iterator[Result]:
        """A result for each entry of the batch, in order. If the model fails, it is run again on each item alone."""
        started = time.perf_counter()
        try:
            with divert_stdout():
                generations = iter(self._generations(batch))
        except Exception as error:
            if len(batch.entries) > 1:
                for entry in batch.entries:
                    yield from self.results(self.collator.prepare([entry]))
                return
            batch = Batch([make_failure(batch.items[0], error)], None, [])
        seconds = (batch.seconds + time.perf_counter() - started) / max(1, len(batch.items))
        for entry in batch.entries:
            if isinstance(entry, Failure):
                yield Result(entry.item, entry.source, error=entry.error)
            else:
                yield self._result(entry, next(generations) if entry.parts else [Generation("")], seconds)

    def _result(self, item: Item, found: Sequence[Generation], seconds: float) -> Result:
        source = item.source or item.id
        if not found or any(math.isnan(one.score) for one in found):
            # no hypothesis was found: the scores overflowed to infinity or NaN
            return Result(
                item, source, error=CondgenError(f"{source}: the model has no output, since its scores are infinite or NaN")
            )
        decoded = item.condition.warnings if isinstance(item.condition, Content) else ()
        before = (*item.warnings, *decoded, *self._domain_warning(item, found))
        return Result(item, source, tuple(replace(one, seconds=seconds, warnings=(*before, *one.warnings)) for one in found))

    def _domain_warning(self, item: Item, found: Sequence[Generation]) -> tuple[str, ...]:
        """A warning, once, for the first input that is clearly unlike the training data."""
        asked = item.parts and found and self.forced is None and self.request.outputs
        if self.warned or not asked or not self.model.is_out_of_domain(item, found[0]):
            return ()
        self.warned = True
        return (f"this is unlike what {self.purpose}" if self.purpose else "this is unlike what the model was trained on",)

    @torch.inference_mode()
    def _generations(self, batch: Batch) -> list[list[Generation]]:
        """The generations of each item of the batch, best first."""
        if not batch.items:
            return []
        inputs = move(batch.inputs, self.device)
        if isinstance(self.model, Predictor):
            found = self.model.predict(inputs)
            rows = zip(found, batch.items, batch.conditions, strict=True)
            return [
                [self._explain(Subject(self.model, item, self.device), replace(one, condition=condition), [])]
                for one, item, condition in rows
            ]
        return self._decode(self.model, self.model.encode(inputs), batch)

    def _decode(self, model: SequenceModel, memory: Memory, batch: Batch) -> list[list[Generation]]:
        likelihoods: list[tuple[NDArray[np.float32], ...]] = [()] * len(batch.items)
        if self.request.likelihoods:
            likelihoods = reference_log_probs(model, memory, [item.references for item in batch.items])
        references: list[tuple[Generation, ...]] = [()] * len(batch.items)
        if self.request.references:
            references = force_references(model, memory, [item.references for item in batch.items])
            references = [
                tuple(self._explain(subject, one, model.targets(one.output)) for one in forced)
                for subject, forced in zip(self._subjects(model, memory, batch), references, strict=True)
            ]
        if not self.request.outputs:
            return [
                [Generation("", reference_log_probs=one, references=forced)]
                for one, forced in zip(likelihoods, references, strict=True)
            ]
        hypotheses = self._hypotheses(model, memory, [item.key for item in batch.items])
        subjects = self._subjects(model, memory, batch)
        rows = zip(hypotheses, subjects, row_positions(memory), batch.conditions, likelihoods, references, strict=True)
        return [
            [
                replace(one, reference_log_probs=likelihood, references=forced)
                for one in self._make_generations(model, found, subject, positions, condition)
            ]
            for found, subject, positions, condition, likelihood, forced in rows
        ]

    def _hypotheses(self, model: SequenceModel, memory: Memory, keys: Sequence[int]) -> list[list[Hypothesis]]:
        if self.forced is None:
            return decoders.decode(model, memory, self.decoding, keys)
        return [[one] for one in decoders.force(model, memory, [self.forced] * len(memory))]

    def _make_generations(
        self, model: SequenceModel, found: Sequence[Hypothesis], subject: Subject, positions: Positions, condition: Any
    ) -> list[Generation]:
        """The generations of an item's hypotheses."""
        item = subject.item
        unread, doubt = tuple(model.unread(item)), model.doubt(item)
        generations = []
        for hypothesis in found:
            one = make_generation(hypothesis, model.write(hypothesis, item), model.vocabulary, positions, condition)
            one = model.finish(one, hypothesis, item)
            warnings = (*one.warnings, *self._repetition_warning(model, one, item))
            one = replace(one, unread=unread, doubt=doubt, warnings=warnings)
            generations.append(self._explain(subject, one, hypothesis.ids))
        return generations

    def _subjects(self, model: SequenceModel, memory: Memory, batch: Batch) -> list[Subject]:
        """What is explained, for each item; without the memory's row if nothing is."""
        subjects = [Subject(model, item, self.device) for item in batch.items]
        if not self.request.explain:
            return subjects
        rows = torch.split(torch.arange(len(memory), device=memory.values.device), 1)
        axes = [positions.axes for positions in row_positions(memory)]
        return [replace(one, memory=memory.select(row), axes=own) for one, row, own in zip(subjects, rows, axes, strict=True)]

    def _explain(self, subject: Subject, generation: Generation, ids: list[int]) -> Generation:
        request = self.request
        if not request.explain:
            return generation
        return explain(
            subject, generation, ids, request.explain, contrast=request.contrast, curves=request.curves, seed=request.seed
        )

    def _repetition_warning(self, model: SequenceModel, generation: Generation, item: Item) -> tuple[str, ...]:
        """A warning if an output loops, though its input doesn't."""
        if self.forced is not None or model.repeats:
            return ()
        part = repetition(str(generation.output))
        if part is None or repetition(" ".join(_texts(item.condition))) is not None:
            return ()
        helps = "" if self.decoding.no_repeat_ngram else "; --no-repeat-ngram 3 prevents that"
        return (f"the output repeats {part!r} over and over{helps}",)


def _texts(condition: Any) -> list[str]:
    """The texts of a condition."""
    if isinstance(condition, str):
        return [condition]
    return [part for part in condition if isinstance(part, str)] if isinstance(condition, tuple | list) else []
