"""From inputs to items, by the reader of a task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from condgen_cli.errors import CondgenError, PluginError
from condgen_cli.files.sources import Failure
from condgen_cli.inputs.lines import Text
from condgen_cli.item import Item
from condgen_cli.specs import resolve

__all__ = ["add_location", "read_inputs", "read_items"]


def read_items(task: str, source: str, longest: float | None = None) -> Iterator[Item]:
    """The items of one path, URL or text, as a task's reader reads them.

    Args:
        longest: the longest part that the model reads, ``Model.longest``; None: the reader's own limit.
    """
    from condgen_cli.registry.plugins import manager

    spec = manager().tasks.get(task)
    if spec is None:
        raise PluginError(f"no plugin provides the task {task!r}", "condgen plugin doctor")
    reader = resolve(spec.reader)
    yield from reader(source) if longest is None else reader(source, longest=longest)


def read_inputs(
    task: str, inputs: Iterable[str | Text | Item | Failure], longest: float | None = None
) -> Iterator[Item | Failure]:
    """The items of all inputs, as a task's reader reads them; an input that can't be read becomes a failure in its place.

    Args:
        longest: see ``read_items``.
    """
    for source in inputs:
        if isinstance(source, Failure | Item):
            yield source
        elif isinstance(source, Text):
            yield from _text_items(task, source, longest)
        else:
            try:
                yield from read_items(task, source, longest)
            except CondgenError as error:
                yield Failure(source, error)


def add_location(error: CondgenError, place: str) -> CondgenError:
    """The error with a text's location put before its message."""
    return type(error)(f"{place}: {error.message}", error.hint)


def _text_items(task: str, source: Text, longest: float | None) -> Iterator[Item | Failure]:
    try:
        for item in read_items(task, source.text, longest):
            warnings = (*source.warnings, *item.warnings)
            yield replace(item, id=source.name, source=source.name, text=source.text, warnings=warnings)
    except CondgenError as error:
        item = Item(source.name, source.text, source=source.name, text=source.text)
        yield Failure(source.name, add_location(error, source.name), item)
