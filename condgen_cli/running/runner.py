"""A trained model, ready to run: ``load("sat")("photo.jpg")``.

Inputs pass through a bounded pipeline: one thread reads items, a thread pool collates the next batches, and the caller's thread
runs the model. Only a few batches are in memory at a time, whatever the number of inputs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from condgen_cli.contract import SequenceContract
from condgen_cli.errors import InputError, UsageError
from condgen_cli.files.inputs import protect
from condgen_cli.files.sources import Failure
from condgen_cli.generation import Generation
from condgen_cli.inputs.reading import read_inputs, read_items
from condgen_cli.item import Item
from condgen_cli.running.backends import Backend, choose_backend
from condgen_cli.running.batches import Batch, Collator, is_part, windows
from condgen_cli.running.bundle import (
    Bundle,
    Description,
    default_decoding,
    describe,
    find_bundle,
)
from condgen_cli.running.devices import find_device
from condgen_cli.running.execution import Execution
from condgen_cli.running.pipeline import batch_available, prefetch, restore_order, sorted_batches
from condgen_cli.running.randomness import assign_keys
from condgen_cli.running.request import Request
from condgen_cli.running.results import Result, group_by_input, join_parts

if TYPE_CHECKING:
    import torch

    from condgen_cli.zoo import Entry

__all__ = [
    "Bundle",
    "Description",
    "Request",
    "Result",
    "Runner",
    "describe",
    "group_by_input",
    "join_parts",
    "load",
    "read_inputs",
    "read_items",
]

AHEAD = 3
"""Number of batches that are read and collated ahead while the model runs."""

WINDOW = 16
"""Number of batches whose items are sorted by length together, if the model has ``length``."""


def load(name: str | os.PathLike[str], device: str = "auto", backend: str | None = None) -> Runner:
    """Load a model with its weights.

    Args:
        name: id or alias of a zoo model, or the folder of a training run.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        backend: ``torch``; ``onnx``, which is faster on a CPU and needs no torch; or ``auto``: ``onnx`` on a CPU if the model
            has graphs. None: what ``CONDGEN_BACKEND`` says, else ``auto``.
    Raises:
        UsageError: if the device isn't there, or the backend can't run the model.
        NotFoundError: if there is no such model.
        PluginError: if no plugin provides its architecture, or the plugin can't build it.
        IntegrityError: if its files are damaged or don't match its architecture.
        NetworkError: if files are missing and can't be fetched.
    """
    if device not in ("auto", "cpu"):
        find_device(device)  # first of all, since no model helps where there is no such device
    bundle = find_bundle(os.fspath(name))
    for path in bundle.files.values():
        protect(path)
    if choose_backend(bundle, backend, device) is Backend.onnx:
        from condgen_cli.running.backends.onnx import build_graph_model

        return Runner(build_graph_model(bundle), bundle, None)
    from condgen_cli.running.backends.torch import build_model

    target = find_device(device)
    return Runner(build_model(bundle).to(target), bundle, target)


class Runner:
    """A model that turns conditions into generations.

    Args:
        model: a ``condgen_cli.model.SequenceModel`` or ``Predictor``, in evaluation mode, or the same computed by graphs.
        bundle: the bundle that it was built from.
        device: the model's device; None: it runs in ONNX Runtime, on the CPU.
    """

    def __init__(self, model: Any, bundle: Bundle, device: torch.device | None) -> None:
        self.model = model
        self.bundle = bundle
        self.device = device
        self.decoding = default_decoding(bundle)

    @property
    def name(self) -> str:
        return self.bundle.name

    @property
    def task(self) -> str:
        return self.bundle.task

    @property
    def entry(self) -> Entry | None:
        return self.bundle.entry

    def __call__(self, source: Any, *, force: str | None = None, seed: int = 0, **options: Any) -> Generation:
        """The best generation for one input.

        Args:
            source: an Item, a condition such as a PIL image, or a string that the task's reader reads: a path, a URL, a text.
            force: forced output; None: the model decodes.
            seed: seed of sampling: the same input and seed give the same sample.
            options: fields of ``Decoding`` that replace the model's defaults.
        Raises:
            InputError: if the input can't be read.
        """
        items = self._as_items(source)
        count = sum(item.part == 0 for item in items)
        if count != 1:
            raise InputError(f"{source} holds {count} items", "use Runner.stream")
        (result,) = self.stream(items, Request(replace(self.decoding, **options), force=force, seed=seed))
        if result.error:
            raise result.error
        return result.generations[0]

    def stream(self, items: Iterable[Item | Failure], request: Request | None = None) -> Iterator[Result]:
        """Run the model; yields a Result for each input, in order, as soon as it and those before it are done.

        An input is an item, or the items that its reader split it into. The result of an input that fails is an error; others
        are unaffected. Only about a batch of an input's parts is read before the first is run.

        Args:
            items: the items, read lazily in a separate thread.
            request: settings of decoding and results; None: ``Request()``.
        Raises:
            UsageError: if an output is forced that the model can't write.
        """
        request = request or Request()
        if self.device is None and (request.explain or request.curves):
            raise UsageError("only torch explains what an output depends on", f"load({self.name!r}, backend='torch')")
        decoding = request.decoding or self.decoding
        if decoding.method == "sample":
            items = assign_keys(items, request.seed)
        forced = self._force(request.force)
        collator = Collator(self.model, request.conditions, forced is not None)
        execution = Execution(self.model, self.device, collator, request, decoding, forced, self._purpose)

        def prepare(batch: tuple[list[int], list[Item | Failure]]) -> tuple[list[int], Batch]:
            places, entries = batch
            return places, collator.prepare(entries)

        def placed_results() -> Iterator[tuple[int, Result]]:
            for places, batch in prefetch(prepare, self._batches(items, request, collator), ahead=AHEAD):
                yield from zip(places, execution.results(batch), strict=True)

        results = restore_order(placed_results())
        yield from map(join_parts, group_by_input(results)) if request.join_parts else results

    def _batches(
        self, items: Iterable[Item | Failure], request: Request, collator: Collator
    ) -> Iterator[tuple[list[int], list[Item | Failure]]]:
        """Batches with the places of their items in the input order; items of similar length together if the model has
        ``length``."""
        by_length = self.model.length is not None
        window = request.batch_size * WINDOW if by_length else request.batch_size
        if request.live:
            part = max(window // request.batch_size, 1)
            found = batch_available(items, window, lambda item: part if is_part(item) else 1)
        else:
            found = windows(items, window, request.batch_size)
        return sorted_batches(found, request.batch_size, collator.length if by_length else None)

    @property
    def _purpose(self) -> str:
        """The model's purpose, from its description in the zoo up to the colon."""
        return f"{self.name} is for: {self.entry.description.partition(':')[0]}" if self.entry else ""

    def _force(self, text: str | None) -> list[int] | None:
        """The token ids of a forced output, including the end token."""
        if text is None:
            return None
        if not isinstance(self.model, SequenceContract):
            raise UsageError(f"{self.name} writes no tokens that could be forced")
        vocabulary = self.model.vocabulary
        return [*vocabulary.encode(text), vocabulary.eos]

    def _as_items(self, source: Any) -> list[Item]:
        if isinstance(source, Item):
            return [source]
        if isinstance(source, str | os.PathLike):
            return list(read_items(self.task, os.fspath(source), self.model.longest))
        return [Item(id="input", condition=source, source="input")]
