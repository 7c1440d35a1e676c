"""The result of an input, and joining the results of the parts that its reader split it into."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from condgen_cli.errors import CondgenError
from condgen_cli.generation import Generation, join
from condgen_cli.item import Item

__all__ = ["Result", "group_by_input", "join_parts"]


@dataclass(frozen=True)
class Result:
    """The result of one input, or of one part of it.

    Args:
        item: the item; for a joined input, its first part.
        source: name of the input.
        generations: the outputs, best first; empty after an error.
        error: the reason if it failed.
    """

    item: Item | None
    source: str
    generations: tuple[Generation, ...] = ()
    error: CondgenError | None = None

    @property
    def input(self) -> str:
        """The input text, or the input's name if it is no text."""
        text = self.item.text if self.item else None
        return self.source if text is None else text

    @property
    def is_empty(self) -> bool:
        """Whether the input was empty, so that the model was not run."""
        return self.item is not None and not self.item.parts

    @property
    def last(self) -> bool:
        """Whether this is the last part of its input."""
        return self.item is None or self.item.part + 1 >= self.item.parts


def group_by_input(results: Iterable[Result]) -> Iterator[Iterator[Result]]:
    """For each input an iterator of the results of its parts, as they arrive; it ends with the last part, without waiting for
    the next input."""
    results = iter(results)
    for first in results:
        parts = _parts_from(first, results)
        yield parts
        for _ in parts:  # skip parts that were not consumed
            pass


def _parts_from(result: Result, results: Iterator[Result]) -> Iterator[Result]:
    yield result
    while not result.last and (following := next(results, None)) is not None:
        result = following
        yield result


def join_parts(parts: Iterable[Result]) -> Result:
    """Join the results of an input's parts into one; an error if any part has one."""
    # inputs may be large: keep only the first
    first, *others = (replace(part, item=None) if part.item and part.item.part else part for part in parts)
    if not others:
        return first
    for part in (first, *others):
        if part.error:
            return replace(first, generations=(), error=part.error)
    ranked = zip(first.generations, *(part.generations for part in others), strict=False)  # a part may have fewer
    return replace(first, generations=tuple(join(row) for row in ranked))
