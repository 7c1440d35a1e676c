"""Forming batches: windows of items, collation in threads, and failures kept in the place of their items."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from condgen_cli.contract import Contract
from condgen_cli.errors import CondgenError, InputError
from condgen_cli.files.sources import Failure
from condgen_cli.inputs.reading import add_location
from condgen_cli.item import Item
from condgen_cli.registry.plugins import failed_plugin
from condgen_cli.settings import debugging

__all__ = ["Batch", "Collator", "is_part", "make_failure", "windows"]


@dataclass(frozen=True)
class Batch:
    """A batch for a model.

    Args:
        entries: items in order, with failures in place of those that can't be read.
        inputs: the collated ``items``; None if there are none.
        conditions: backgrounds that attention is drawn on, one for each of ``items``.
        seconds: wall-clock time of reading and collating, in seconds.
    """

    entries: list[Item | Failure]
    inputs: Any
    conditions: list[Any]
    seconds: float = 0.0

    @property
    def items(self) -> list[Item]:
        """The entries that the model runs on, without failures and empty inputs."""
        return [entry for entry in self.entries if isinstance(entry, Item) and entry.parts]


@dataclass(frozen=True)
class Collator:
    """Makes batches of items.

    Args:
        model: model that collates them.
        conditions: whether batches hold the backgrounds that attention is drawn on.
        forced: whether an output is forced, which is refused for inputs in several parts.
    """

    model: Contract
    conditions: bool
    forced: bool

    def length(self, entry: Item | Failure) -> int:
        """The length that entries are sorted by; 0 for entries that the model isn't run on."""
        measure = self.model.length
        if measure is None or isinstance(entry, Failure) or not entry.parts:
            return 0
        try:
            return int(measure(entry))
        except Exception:  # the error is reported when it is collated
            return 0

    def prepare(self, entries: list[Item | Failure]) -> Batch:
        """Read and collate; if that fails, again without the failing items."""
        try:
            return self._collate(entries)
        except Exception as error:
            if len(entries) == 1 and isinstance(entries[0], Item):
                return Batch([make_failure(entries[0], error)], None, [])
        return self._collate([self._check(entry) for entry in entries])

    def _collate(self, entries: list[Item | Failure]) -> Batch:
        batch = Batch(entries, None, [])
        if not batch.items:
            return batch
        started = time.perf_counter()
        if self.forced and any(item.parts > 1 for item in batch.items):
            raise InputError("the input is split into parts; an output can be forced only for an input of one part")
        conditions = [self.model.condition(item) if self.conditions else None for item in batch.items]
        inputs = self.model.collate(batch.items)
        return replace(batch, inputs=inputs, conditions=conditions, seconds=time.perf_counter() - started)

    def _check(self, entry: Item | Failure) -> Item | Failure:
        """The entry, or a failure in its place if it can't be collated."""
        try:
            self._collate([entry])
        except Exception as error:
            return make_failure(entry, error)
        return entry


def windows(items: Iterable[Item | Failure], size: int, parts: int) -> Iterator[list[Item | Failure]]:
    """Lists of at most ``size`` items, with at most ``parts`` parts of split inputs, which are large and of similar length."""
    window: list[Item | Failure] = []
    held = 0
    for item in items:
        window.append(item)
        held += is_part(item)
        if len(window) == size or held == parts:
            yield window
            window, held = [], 0
    if window:
        yield window


def is_part(entry: Item | Failure) -> bool:
    """Whether an entry is one of several parts of an input."""
    return isinstance(entry, Item) and entry.parts > 1


def make_failure(entry: Item | Failure, error: Exception) -> Failure:
    """The failure of an entry that can't be read or run.

    Raises:
        Exception: the error itself, if it is no CondgenError and ``--debug`` is set.
    """
    if isinstance(entry, Failure):
        return entry
    source = entry.source or entry.id
    if isinstance(error, CondgenError):
        return Failure(source, add_location(error, source) if entry.text is not None else error, entry)
    if debugging():
        raise error
    if isinstance(error, ImportError) and (failure := failed_plugin(error)):
        return Failure(source, failure, entry)
    reason = str(error).partition("\n")[0]
    return Failure(source, InputError(f"{source}: {type(error).__name__}: {reason}"), entry)
