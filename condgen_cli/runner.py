"""A trained model, ready to run: ``load("sat")("photo.jpg")``.

Inputs flow through a bounded pipeline: one thread reads items, a pool decodes and collates the next batches, and the caller's
thread runs the model. A few batches are held at a time, whatever the number of inputs.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor
from torch.overrides import TorchFunctionMode

from condgen_cli import decoding as decoders
from condgen_cli.decoding import Decoding, Hypothesis
from condgen_cli.errors import CondgenError, InputError, IntegrityError, NotFoundError, PluginError, UsageError
from condgen_cli.files.inputs import protect
from condgen_cli.generation import AttentionMap, Axis, Generation, join
from condgen_cli.guard import divert_stdout, guard, told
from condgen_cli.likelihood import reference_log_probs
from condgen_cli.lines import Text
from condgen_cli.model import Item, Memory, Vocabulary
from condgen_cli.pipeline import available, prefetch, restored, sorted_batches
from condgen_cli.plugins import failed_plugin
from condgen_cli.randomness import keyed
from condgen_cli.settings import debugging
from condgen_cli.signs import repetition
from condgen_cli.sources import Failure
from condgen_cli.specs import resolve
from condgen_cli.validation import validation_message
from condgen_cli.weights import load_weights

if TYPE_CHECKING:
    from condgen_cli.zoo import Entry, Zoo

__all__ = [
    "Bundle",
    "Description",
    "Result",
    "Runner",
    "by_input",
    "described",
    "initial_bundle",
    "initial_files",
    "load",
    "read_inputs",
    "read_items",
    "whole",
]

AHEAD = 3
"""Batches that are read and collated while the model runs."""

WINDOW = 16
"""Batches whose items are sorted by length, if the model tells it."""


@dataclass(frozen=True)
class Bundle:
    """What is needed to rebuild a model, from a zoo or from a training run.

    Args:
        name: as the user knows it.
        task: the name of its task.
        architecture: the name that a plugin registered.
        config: for the architecture's builder.
        decoding: arguments of ``Decoding``.
        files: local files by name; weights are those that end in ``.safetensors``, of which a later one wins.
        entry: the zoo's entry, if it comes from a zoo.
    """

    name: str
    task: str
    architecture: str
    config: Mapping[str, Any]
    decoding: Mapping[str, Any]
    files: Mapping[str, Path]
    entry: Entry | None = None


@dataclass(frozen=True)
class Result:
    """What became of one input: generations, best first, or an error. Of an input in parts, ``item`` is the first."""

    item: Item | None
    source: str
    generations: tuple[Generation, ...] = ()
    error: CondgenError | None = None

    @property
    def input(self) -> str:
        """What was put in: a text, or else the name of what was read."""
        text = self.item.text if self.item else None
        return self.source if text is None else text

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing in the input, so that the model had nothing to look at."""
        return self.item is not None and not self.item.parts

    @property
    def last(self) -> bool:
        """Whether no other part of its input follows."""
        return self.item is None or self.item.part + 1 >= self.item.parts


def load(name: str | os.PathLike[str], device: str = "auto") -> Runner:
    """A model with its weights.

    Args:
        name: an id or alias of the zoo, or the folder of a training run.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
    Raises:
        NotFoundError: if there is no such model.
        PluginError: if no plugin brings its architecture, or the plugin can't build it.
        IntegrityError: if its files don't fit its architecture.
        NetworkError: if files are missing and can't be fetched.
    """
    target = _device(device)
    bundle = _bundle(os.fspath(name))
    for path in bundle.files.values():
        protect(path)
    return Runner(_build(bundle).to(target), bundle, target)


class Description(NamedTuple):
    """What is known of a model before its weights are read: its task, and how it decodes by itself."""

    task: str
    decoding: Decoding


def described(name: str | os.PathLike[str]) -> Description:
    """A model's description; nothing is fetched or built.

    Raises:
        NotFoundError: if there is no such model.
        IntegrityError: if it is described wrongly.
    """
    bundle = _bundle(os.fspath(name), files=False)
    return Description(bundle.task, _default_decoding(bundle))


def initial_files(name: str) -> Mapping[str, Path]:
    """The files, by name, of a model that training starts from; see ``initial_bundle``."""
    return initial_bundle(name).files


def initial_bundle(name: str) -> Bundle:
    """A model that training starts from: a zoo's entry, the folder of a run, or a recipe's name, which means its run.

    Raises:
        NotFoundError, IntegrityError, NetworkError: as ``load``.
    """
    from condgen_cli.training.library import find_run, missing_start

    try:
        return _bundle(name)
    except NotFoundError as error:
        if run := find_run(name):
            return _run_bundle(run)
        raise missing_start(name, error) from None


class Runner:
    """A model that turns conditions into generations.

    Args:
        model: follows ``condgen_cli.model.Model``, or has ``predict(batch)`` in place of ``step``, which gives a Generation for
            each item of the batch. With ``length(item) -> int`` it gets items of like length in a batch.
        bundle: what it was built from.
        device: where the model is.
    """

    def __init__(self, model: Any, bundle: Bundle, device: torch.device) -> None:
        self.model = model
        self.bundle = bundle
        self.device = device
        self.decoding = _default_decoding(bundle)

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
            source: an Item, a condition such as a PIL image, or a string that the task reads: a path, a URL, a text.
            force: the output that the model is made to write.
            seed: for sampling: the same input and seed give the same sample.
            options: fields of ``Decoding`` that differ from the model's own.
        Raises:
            InputError: if the input can't be read.
        """
        items = self._as_items(source)
        count = sum(item.part == 0 for item in items)
        if count != 1:
            raise InputError(f"{source} holds {count} items", "use Runner.stream")
        (result,) = self.stream(items, replace(self.decoding, **options), force=force, seed=seed)
        if result.error:
            raise result.error
        return result.generations[0]

    def stream(
        self,
        items: Iterable[Item | Failure],
        decoding: Decoding | None = None,
        batch_size: int = 16,
        force: str | None = None,
        seed: int = 0,
        draw: bool = True,
        live: bool = False,
        joined: bool = True,
        outputs: bool = True,
        references: bool = False,
    ) -> Iterator[Result]:
        """A Result for each input, in order, as soon as it and those before it are done.

        An input is an item, or the items that its reader cut it into. One that fails has an error and harms no other. However
        many parts an input has, about a batch of them is read before the first is run.

        Args:
            items: read lazily, in a thread of their own.
            decoding: default: the model's.
            force: the output that the model is made to write for every item.
            seed: for sampling. What is drawn for an input depends on the seed, on what the input is, and on how many equal ones
                came before: on no batch, place or other input.
            draw: give generations what attention is drawn on; False spares reading it again.
            live: items come as somebody writes them: take those that are there, rather than wait until a batch is full.
            joined: False gives a Result for each part, see ``by_input`` and ``whole``.
            outputs: False writes nothing: a generation's output is empty.
            references: give generations the log-probabilities of their items' references.
        """
        decoding = decoding or self.decoding
        if decoding.method == "sample":
            items = keyed(items, seed)
        run = _Run(self.model, self.device, decoding, self._forced(force), draw, outputs, references, self._purpose)
        by_length = hasattr(self.model, "length")
        window = batch_size * WINDOW if by_length else batch_size
        if live:
            windows = available(items, window, lambda item: max(window // batch_size, 1) if _is_part(item) else 1)
        else:
            windows = _windows(items, window, batch_size)
        batches = sorted_batches(windows, batch_size, run.length if by_length else None)
        results = restored(run.placed_results(batches))
        yield from map(whole, by_input(results)) if joined else results

    @property
    def _purpose(self) -> str:
        """What the model is for, as the zoo tells it, up to the colon."""
        return f"{self.name} is for: {self.entry.description.partition(':')[0]}" if self.entry else ""

    def _forced(self, text: str | None) -> list[int] | None:
        if text is None:
            return None
        if not hasattr(self.model, "step"):
            raise UsageError(f"{self.name} writes no tokens that could be forced")
        vocabulary = self.model.vocabulary
        return [*vocabulary.encode(text), vocabulary.eos]

    def _as_items(self, source: Any) -> list[Item]:
        if isinstance(source, Item):
            return [source]
        if isinstance(source, str | os.PathLike):
            return list(read_items(self.task, os.fspath(source)))
        return [Item(id="input", condition=source, source="input")]


def read_items(task: str, source: str) -> Iterator[Item]:
    """The items that a task's reader finds in one path, URL or text."""
    from condgen_cli.plugins import manager

    spec = manager().tasks.get(task)
    if spec is None:
        raise PluginError(f"no plugin brings the task {task!r}", "condgen plugin doctor")
    yield from resolve(spec.reader)(source)


def read_inputs(task: str, inputs: Iterable[str | Text | Item | Failure]) -> Iterator[Item | Failure]:
    """The items that a task's reader finds in inputs; an input that it can't read becomes a failure in its place."""
    for source in inputs:
        if isinstance(source, Failure | Item):
            yield source
        elif isinstance(source, Text):
            yield from _text_items(task, source)
        else:
            try:
                yield from read_items(task, source)
            except CondgenError as error:
                yield Failure(source, error)


def _text_items(task: str, source: Text) -> Iterator[Item | Failure]:
    try:
        for item in read_items(task, source.text):
            warnings = (*source.warnings, *item.warnings)
            yield replace(item, id=source.name, source=source.name, text=source.text, warnings=warnings)
    except CondgenError as error:
        item = Item(source.name, source.text, source=source.name, text=source.text)
        yield Failure(source.name, _located(error, source.name), item)


@dataclass(frozen=True)
class _Batch:
    """Entries in order, items that can't be read replaced by failures, the collated inputs of the items that remain, and the
    seconds that it took to read them."""

    entries: list[Item | Failure]
    inputs: Any
    conditions: list[Any]
    seconds: float = 0.0

    @property
    def items(self) -> list[Item]:
        return [entry for entry in self.entries if isinstance(entry, Item) and entry.parts]


@dataclass(frozen=True)
class _Run:
    """One stream's settings, and how a batch goes through the model."""

    model: Any
    device: torch.device
    decoding: Decoding
    forced: list[int] | None
    draw: bool
    outputs: bool
    references: bool
    purpose: str
    told: list[str] = field(default_factory=list)

    def length(self, entry: Item | Failure) -> int:
        """The model's measure of an item; 0 where the model does nothing."""
        if isinstance(entry, Failure) or not entry.parts:
            return 0
        try:
            return int(self.model.length(entry))
        except Exception:  # collating it will tell
            return 0

    def placed_results(self, batches: Iterable[tuple[list[int], list[Item | Failure]]]) -> Iterator[tuple[int, Result]]:
        """The results of all batches, each with its entry's place."""

        def prepared(batch: tuple[list[int], list[Item | Failure]]) -> tuple[list[int], _Batch]:
            places, entries = batch
            return places, self.prepare(entries)

        for places, batch in prefetch(prepared, batches, ahead=AHEAD):
            yield from zip(places, self.results(batch), strict=True)

    def prepare(self, entries: list[Item | Failure]) -> _Batch:
        """Read and collate; where that fails, once more without the items at fault."""
        try:
            return self._collate(entries)
        except Exception as error:
            if len(entries) == 1 and isinstance(entries[0], Item):
                return _Batch([_failure(entries[0], error)], None, [])
        return self._collate([self._checked(entry) for entry in entries])

    def results(self, batch: _Batch) -> Iterator[Result]:
        """Run the model; where that fails, once more for each item alone."""
        started = time.perf_counter()
        try:
            with divert_stdout():
                generations = iter(self._generations(batch))
        except Exception as error:
            if len(batch.entries) > 1:
                for entry in batch.entries:
                    yield from self.results(self.prepare([entry]))
                return
            batch = _Batch([_failure(batch.items[0], error)], None, [])
        seconds = (batch.seconds + time.perf_counter() - started) / max(1, len(batch.items))
        for entry in batch.entries:
            if isinstance(entry, Failure):
                yield Result(entry.item, entry.source, error=entry.error)
            else:
                found = next(generations) if entry.parts else [Generation("")]
                if not found or any(math.isnan(one.score) for one in found):
                    yield Result(entry, entry.source or entry.id, error=_no_output(entry))
                    continue
                decoded = getattr(entry.condition, "warnings", ())  # since it was decoded
                before = (*entry.warnings, *decoded, *self._strangeness(entry, found))
                told = tuple(replace(one, seconds=seconds, warnings=(*before, *one.warnings)) for one in found)
                yield Result(entry, entry.source or entry.id, told)

    def _strangeness(self, item: Item, found: Sequence[Generation]) -> tuple[str, ...]:
        """What the model is for, once, with the first input that is plainly something else."""
        asked = item.parts and found and self.forced is None and self.outputs
        if self.told or not asked or not hasattr(self.model, "strange") or not self.model.strange(item, found[0]):
            return ()
        self.told.append(item.id)
        return (f"this is unlike what {self.purpose}" if self.purpose else "this is unlike what the model was trained on",)

    def _collate(self, entries: list[Item | Failure]) -> _Batch:
        batch = _Batch(entries, None, [])
        if not batch.items:
            return batch
        started = time.perf_counter()
        if self.forced is not None and any(item.parts > 1 for item in batch.items):
            raise InputError("the input is cut into parts, and an output can be forced for one only")
        conditions = [self.model.condition(item) if self.draw else None for item in batch.items]
        inputs = self.model.collate(batch.items)
        return replace(batch, inputs=inputs, conditions=conditions, seconds=time.perf_counter() - started)

    def _checked(self, entry: Item | Failure) -> Item | Failure:
        try:
            self._collate([entry])
        except Exception as error:
            return _failure(entry, error)
        return entry

    @torch.inference_mode()
    def _generations(self, batch: _Batch) -> list[list[Generation]]:
        """For each item of the batch its generations, best first."""
        if not batch.items:
            return []
        inputs = _to_device(batch.inputs, self.device)
        if not hasattr(self.model, "step"):
            found = self.model.predict(inputs)
            predicted = [found] if isinstance(found, Generation) else list(found)
            return [[replace(one, condition=condition)] for one, condition in zip(predicted, batch.conditions, strict=True)]
        memory = self.model.encode(inputs)
        likelihoods: list[tuple[NDArray[np.float32], ...]] = [()] * len(batch.items)
        if self.references:
            likelihoods = reference_log_probs(self.model, memory, [item.references for item in batch.items])
        if not self.outputs:
            return [[Generation("", reference_log_probs=one)] for one in likelihoods]
        hypotheses = self._decode(memory, [item.key for item in batch.items])
        masks = None if memory.mask is None else memory.mask.cpu().numpy()
        write = self.model.write if getattr(self.model, "copies_unknown", False) else self._decoded
        rows = []
        columns = zip(hypotheses, batch.items, batch.conditions, likelihoods, strict=True)
        for row, (found, item, condition, likelihood) in enumerate(columns):
            place = _Place(
                tuple(memory.axes[row]) if memory.axes else (),
                memory.values.shape[1],
                None if masks is None else masks[row],
            )
            unread = tuple(self.model.unread(item)) if hasattr(self.model, "unread") else ()
            generations = [_generation(one, write(one, item), self.model.vocabulary, place, condition) for one in found]
            if hasattr(self.model, "finished"):
                generations = [self.model.finished(*pair, item) for pair in zip(generations, found, strict=True)]
            doubt = self.model.doubt(item) if hasattr(self.model, "doubt") else ""
            rows.append(
                [
                    replace(
                        one,
                        unread=unread,
                        doubt=doubt,
                        warnings=(*one.warnings, *self._signs(one, item)),
                        reference_log_probs=likelihood,
                    )
                    for one in generations
                ]
            )
        return rows

    def _signs(self, generation: Generation, item: Item) -> tuple[str, ...]:
        """A warning if an output repeats itself over and over, though its input doesn't."""
        if self.forced is not None or getattr(self.model, "repeats", False):
            return ()
        part = repetition(str(generation.output))
        if part is None or repetition(" ".join(_texts(item.condition))) is not None:
            return ()
        helps = "" if self.decoding.no_repeat_ngram else "; --no-repeat-ngram 3 keeps it from that"
        return (f"the output repeats {part!r} over and over{helps}",)

    def _decoded(self, hypothesis: Hypothesis, item: Item) -> str:
        return str(self.model.vocabulary.decode(hypothesis.ids))

    def _decode(self, memory: Memory, keys: Sequence[int]) -> list[list[Hypothesis]]:
        if self.forced is None:
            return decoders.decode(self.model, memory, self.decoding, keys)
        return [[one] for one in decoders.force(self.model, memory, [self.forced] * len(memory))]


def _texts(condition: Any) -> list[str]:
    """The texts of a condition."""
    if isinstance(condition, str):
        return [condition]
    return [part for part in condition if isinstance(part, str)] if isinstance(condition, tuple | list) else []


@dataclass(frozen=True)
class _Place:
    """Where one memory row's positions lie: their axes, their number with padding, and which of them are real."""

    axes: tuple[Axis, ...]
    positions: int
    mask: NDArray[np.bool_] | None

    def map(self, weights: NDArray[np.float32], steps: Axis) -> AttentionMap:
        """Weights (steps, positions) or (steps, heads, positions) with the row's axes."""
        heads = (Axis.numbered("head", "heads", weights.shape[1]),) if weights.ndim == 3 else ()
        axes = self.axes
        if weights.shape[-1] != self.positions:  # it looks at something else than the memory
            axes = ()
        elif self.mask is not None:
            weights = weights[..., self.mask]
        axes = (steps, *heads, *(axes or (Axis.numbered("position", "slots", weights.shape[-1]),)))
        return AttentionMap(weights.reshape([len(axis) for axis in axes]), axes)


def _generation(hypothesis: Hypothesis, output: str, vocabulary: Vocabulary, place: _Place, condition: Any) -> Generation:
    tokens = tuple(vocabulary.token(index) for index in hypothesis.ids)
    steps = Axis("token", "tokens", tokens)
    return Generation(
        output=output,
        tokens=tokens,
        log_probs=hypothesis.log_probs,
        score=hypothesis.score,
        attention={name: place.map(weights, steps) for name, weights in hypothesis.attention.items()},
        condition=condition,
        extras={name: values for name, values in hypothesis.extras.items() if values.ndim == 1},
    )


def by_input(results: Iterable[Result]) -> Iterator[Iterator[Result]]:
    """For each input the results of its parts, as they come; they end with the last part, before the next input is there."""
    results = iter(results)
    for first in results:
        parts = _with_following(first, results)
        yield parts
        for _ in parts:  # those that nobody took
            pass


def _with_following(result: Result, results: Iterator[Result]) -> Iterator[Result]:
    yield result
    while not result.last and (following := next(results, None)) is not None:
        result = following
        yield result


def whole(parts: Iterable[Result]) -> Result:
    """One result for the parts of an input; an error if one of them has one."""
    # what was put in may be large
    first, *others = (replace(part, item=None) if part.item and part.item.part else part for part in parts)
    if not others:
        return first
    for part in (first, *others):
        if part.error:
            return replace(first, generations=(), error=part.error)
    ranked = zip(first.generations, *(part.generations for part in others), strict=False)  # a part may have fewer
    return replace(first, generations=tuple(join(row) for row in ranked))


def _windows(items: Iterable[Item | Failure], size: int, parts: int) -> Iterator[list[Item | Failure]]:
    """Lists of at most ``size`` items, among them at most ``parts`` parts of longer inputs: these are large, and alike."""
    window: list[Item | Failure] = []
    held = 0
    for item in items:
        window.append(item)
        held += _is_part(item)
        if len(window) == size or held == parts:
            yield window
            window, held = [], 0
    if window:
        yield window


def _is_part(entry: Item | Failure) -> bool:
    """Whether it is one of several that an input is cut into."""
    return isinstance(entry, Item) and entry.parts > 1


def _no_output(entry: Item) -> CondgenError:
    """The error of an input that no hypothesis was found for: the model's numbers have grown beyond all bounds."""
    return CondgenError(f"{entry.source or entry.id}: the model has no output, since its scores are not numbers")


def _failure(entry: Item | Failure, error: Exception) -> Failure:
    if isinstance(entry, Failure):
        return entry
    source = entry.source or entry.id
    if isinstance(error, CondgenError):
        return Failure(source, _located(error, source) if entry.text is not None else error, entry)
    if debugging():
        raise error
    if isinstance(error, ImportError) and (failure := failed_plugin(error)):
        return Failure(source, failure, entry)
    reason = str(error).partition("\n")[0]
    return Failure(source, InputError(f"{source}: {type(error).__name__}: {reason}"), entry)


def _located(error: CondgenError, place: str) -> CondgenError:
    """The error of a text, whose message can't name where the text stood."""
    return type(error)(f"{place}: {error.message}", error.hint)


def _to_device(inputs: Any, device: torch.device) -> Any:
    """Tensors, also within mappings, lists and (named) tuples, on the device."""
    if device.type == "cpu":
        return inputs
    if isinstance(inputs, Mapping):
        return {name: _to_device(part, device) for name, part in inputs.items()}
    if isinstance(inputs, list | tuple):
        parts = [_to_device(part, device) for part in inputs]
        return type(inputs)(*parts) if hasattr(inputs, "_fields") else type(inputs)(parts)
    return inputs.to(device, non_blocking=True) if hasattr(inputs, "to") else inputs


def _device(name: str) -> torch.device:
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if has[device])
    if not has.get(name):
        raise UsageError(f"no {name} device here", f"--device {next(device for device, there in has.items() if there)}")
    return torch.device(name)


def _bundle(name: str, files: bool = True) -> Bundle:
    if os.path.isdir(name) and os.path.lexists(os.path.join(name, RUN_FILE)):
        return _run_bundle(Path(name))
    if os.sep in name or name in (".", ".."):
        raise NotFoundError(f"{name} is not the folder of a training run: it holds no {RUN_FILE}")
    from condgen_cli.zoo import open_zoo

    zoo = open_zoo()
    entry = _entry(zoo, name)
    return Bundle(
        entry.id,
        entry.task,
        entry.architecture.name,
        entry.architecture.config,
        entry.decoding,
        zoo.files(entry) if files else {},
        entry,
    )


def _entry(zoo: Zoo, name: str) -> Entry:
    """The zoo's entry; where there is none, but a recipe of that name, the error says so."""
    from condgen_cli.plugins import manager

    try:
        return zoo.entry(name)
    except NotFoundError as error:
        if name not in manager().recipes:
            raise
        raise NotFoundError(error.message, f"condgen train {name}, then --model runs/{name}") from None


RUN_FILE = "model.json"
"""What a training run writes about its model."""


def _run_bundle(folder: Path) -> Bundle:
    from condgen_cli.zoo.names import safe_path

    path = folder / RUN_FILE
    protect(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = [safe_path(name) for name in content["files"]]
        bundle = Bundle(
            name=folder.resolve().name,
            task=content["task"],
            architecture=content["architecture"]["name"],
            config=content["architecture"]["config"],
            decoding=content.get("decoding", {}),
            files={name: folder / name for name in names},
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else f"{type(error).__name__}: {error}"
        raise IntegrityError(f"{path} is not a model's description: {reason}") from error
    for file in bundle.files.values():
        if not file.is_file():
            raise NotFoundError(f"{file} does not exist")
    return bundle


def _default_decoding(bundle: Bundle) -> Decoding:
    try:
        return Decoding(**bundle.decoding)
    except (TypeError, UsageError) as error:
        raise IntegrityError(f"the decoding settings of {bundle.name} are wrong: {error}") from error


def _build(bundle: Bundle) -> Any:
    """The model with its weights, in evaluation mode, on the CPU and in 32-bit floats."""
    from condgen_cli.plugins import manager

    spec = manager().models.get(bundle.architecture)
    if spec is None:
        plugin = bundle.entry.requires.plugin if bundle.entry else ""
        hint = f"condgen plugin install {plugin}" if plugin else "condgen plugin doctor"
        raise PluginError(f"{bundle.name} needs the architecture {bundle.architecture!r}, which no plugin brings", hint)
    builder = resolve(spec.build)
    try:
        with guard(), _WithoutInitialisation():
            model = builder(bundle.config, bundle.files)
    except CondgenError:
        raise
    except Exception as error:
        if debugging():
            raise
        if isinstance(error, ImportError) and (failure := failed_plugin(error)):
            raise failure from error
        reason = validation_message(error) if isinstance(error, ValidationError) else told(error)
        message = f"the plugin of {bundle.architecture!r} can't build {bundle.name}: {reason}"
        raise PluginError(message) from error
    _load_weights(model, bundle)
    return model.eval()


class _WithoutInitialisation(TorchFunctionMode):
    """Leaves parameters as allocated: weights replace them, and drawing millions of random numbers takes as long as a photo."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def _load_weights(model: Any, bundle: Bundle) -> None:
    from safetensors import SafetensorError

    weights: dict[str, Tensor] = {}
    for name, path in bundle.files.items():
        if name.endswith(".safetensors"):
            try:
                weights.update(load_weights(path))
            except (OSError, SafetensorError) as error:
                raise IntegrityError(f"cannot read {name} of {bundle.name}: {error}") from error
            except IntegrityError as error:
                raise IntegrityError(f"the weights of {bundle.name} are damaged: {error.message}", error.hint) from None
    expected = model.state_dict()
    faults = {
        "missing": expected.keys() - weights.keys(),
        "unexpected": weights.keys() - expected.keys(),
        "of another shape": {name for name in expected.keys() & weights.keys() if expected[name].shape != weights[name].shape},
        "of another kind of number": {
            name
            for name in expected.keys() & weights.keys()
            if expected[name].is_floating_point() != weights[name].is_floating_point()
        },
    }
    told = [f"{_some(names)} {fault}" for fault, names in faults.items() if names]
    if told:
        raise IntegrityError(f"the weights of {bundle.name} don't fit its architecture: {'; '.join(told)}")
    model.load_state_dict(weights)


def _some(names: Sequence[str] | set[str], shown: int = 3) -> str:
    ordered = sorted(names)
    rest = f" and {len(ordered) - shown} more" if len(ordered) > shown else ""
    return ", ".join(f"{name:.80}" for name in ordered[:shown]) + rest
