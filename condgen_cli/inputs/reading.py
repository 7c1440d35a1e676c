"""From what a command was given to items: a task's reader opens paths, URLs and texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from condgen_cli.errors import CondgenError, PluginError
from condgen_cli.files.sources import Failure
from condgen_cli.inputs.lines import Text
from condgen_cli.item import Item
from condgen_cli.specs import resolve

__all__ = ["locate", "read_inputs", "read_items"]


def read_items(task: str, source: str) -> Iterator[Item]:
    """The items that a task's reader finds in one path, URL or text."""
    from condgen_cli.registry.plugins import manager

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


def locate(error: CondgenError, place: str) -> CondgenError:
    """The error of a text, whose message can't name where the text stood, with the place before it."""
    return type(error)(f"{place}: {error.message}", error.hint)


def _text_items(task: str, source: Text) -> Iterator[Item | Failure]:
    try:
        for item in read_items(task, source.text):
            warnings = (*source.warnings, *item.warnings)
            yield replace(item, id=source.name, source=source.name, text=source.text, warnings=warnings)
    except CondgenError as error:
        item = Item(source.name, source.text, source=source.name, text=source.text)
        yield Failure(source.name, locate(error, source.name), item)
