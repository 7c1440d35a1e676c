"""What became of an input, and joining the results of the parts that its reader cut it into."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from condgen_cli.errors import CondgenError
from condgen_cli.generation import Generation, join
from condgen_cli.item import Item

__all__ = ["Result", "group_by_input", "join_parts"]


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
        """Whether there was nothing in the input, so that the model was not run."""
        return self.item is not None and not self.item.parts

    @property
    def last(self) -> bool:
        """Whether no other part of its input follows."""
        return self.item is None or self.item.part + 1 >= self.item.parts


def group_by_input(results: Iterable[Result]) -> Iterator[Iterator[Result]]:
    """For each input the results of its parts, as they come; they end with the last part, before the next input is there."""
    results = iter(results)
    for first in results:
        parts = _parts_from(first, results)
        yield parts
        for _ in parts:  # those that nobody took
            pass


def _parts_from(result: Result, results: Iterator[Result]) -> Iterator[Result]:
    yield result
    while not result.last and (following := next(results, None)) is not None:
        result = following
        yield result


def join_parts(parts: Iterable[Result]) -> Result:
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
