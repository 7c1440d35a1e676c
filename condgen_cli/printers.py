"""Results as text, JSON, JSON lines, or in a format of the task's own.

A printer gets the results of one input after another and writes them to a stream as they come. What it writes for people has
no control characters of the input's, the model's or a file name's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from condgen_cli import console
from condgen_cli.printable import printable

if TYPE_CHECKING:
    from condgen_cli.files import OutputFile
    from condgen_cli.generation import Generation
    from condgen_cli.runner import Result

__all__ = [
    "CollectedPrinter",
    "FormatPrinter",
    "JsonLinesPrinter",
    "JsonPrinter",
    "PartsPrinter",
    "Printer",
    "Stream",
    "Style",
    "TextPrinter",
]


class Stream(Protocol):
    """What printers write to."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> None: ...


@dataclass(frozen=True)
class Style:
    """How results are written for people.

    Args:
        shown: an output as text, ``(generation, color)``.
        steps: what is told of the steps of an output without attention, ``(generation, width, color, encoding)``; empty if
            nothing.
        named: an output stands after its input's name.
        keeps_lines: an input that fails leaves an empty line, so that the lines that follow keep their places.
        attention: attention follows its output.
        color: whether the stream takes colours.
        encoding: of the stream.
        model: the name of the model at work.
    """

    shown: Callable[[Generation, bool], str]
    steps: Callable[[Generation, int, bool, str], str] | None
    named: bool
    keeps_lines: bool
    attention: bool
    color: bool
    encoding: str
    model: Callable[[], str]

    def text(self, generation: Generation) -> str:
        """An output as it is printed."""
        shown = self.shown(_cleaned(generation), self.color)
        return f"{shown}  ({printable(generation.doubt)})" if generation.doubt else shown

    def attention_text(self, generation: Generation) -> str:
        """Its attention, or what is told of its steps instead; empty if there is nothing to tell."""
        if not generation.attention:
            return self.steps(generation, console.width(), self.color, self.encoding) if self.steps else ""
        from condgen_cli.render import attention_text

        return attention_text(generation, width=console.width(), color=self.color, encoding=self.encoding)


class Printer(Protocol):
    """A format. ``write`` is called for each input, with one result or with those of its parts as they come."""

    def write(self, results: Iterable[Result]) -> None: ...
    def close(self) -> None:
        """End the document."""


class TextPrinter:
    """A line for each output. Between outputs of which one has several lines there is an empty line."""

    def __init__(self, output: Stream, style: Style) -> None:
        self.output = output
        self.style = style
        self.warned = False
        self.before: str | None = None

    def write(self, results: Iterable[Result]) -> None:
        for result in results:
            if self.style.keeps_lines and not result.generations:
                self.output.write("\n")
            for generation in result.generations:
                name = f"{printable(result.source)}: " if self.style.named else ""
                shown = f"{name}{self.style.text(generation)}"
                if self.before is not None and "\n" in self.before + shown:
                    self.output.write("\n")
                self.output.write(f"{shown}\n")
                self.before = shown
                if self.style.attention and not result.is_empty:
                    self._show_attention(generation, result)
            self.output.flush()

    def _show_attention(self, generation: Generation, result: Result) -> None:
        if told := self.style.attention_text(generation):
            self.output.write(f"\n{told.rstrip()}\n\n")
        elif result.item and result.item.parts > 1:
            console.warn(f"no attention to show for {result.source}: {self.style.model()} has none, or it is too large")
        elif not self.warned:
            console.warn(f"{self.style.model()} has no attention to show")
            self.warned = True

    def close(self) -> None:
        pass


class PartsPrinter:
    """A line for each input, which grows with each of its parts."""

    def __init__(self, output: Stream, style: Style) -> None:
        self.output = output
        self.style = style

    def write(self, results: Iterable[Result]) -> None:
        before = ""
        for result in results:
            for generation in result.generations:
                if not before:
                    self.output.write(f"{printable(result.source)}: " if self.style.named else "")
                    before = "\n"
                if generation.output:
                    self.output.write(f"{' ' if before == ' ' else ''}{_cleaned(generation).output}")
                    before = " "
                self.output.flush()
        if before:
            self.output.write("\n")
            self.output.flush()

    def close(self) -> None:
        pass


class FormatPrinter:
    """A task's own format for one input."""

    def __init__(self, output: Stream, format: Callable[[Iterable[Generation]], Iterator[str]]) -> None:
        self.output = output
        self.format = format

    def write(self, results: Iterable[Result]) -> None:
        for text in self.format(_cleaned(one) for result in results for one in result.generations):
            self.output.write(text)
            self.output.flush()

    def close(self) -> None:
        pass


class CollectedPrinter:
    """A file of all outputs, made when they are done; meanwhile they are shown as text if somebody looks.

    Args:
        output: the file.
        format: its content, from the generations of each input that has some.
        shown: where outputs are shown as they come.
    """

    def __init__(
        self, output: OutputFile, format: Callable[[Sequence[Sequence[Generation]]], bytes], shown: TextPrinter | None
    ) -> None:
        self.output = output
        self.format = format
        self.shown = shown
        self.inputs: list[tuple[Generation, ...]] = []

    def write(self, results: Iterable[Result]) -> None:
        for result in results:
            if result.generations:
                self.inputs.append(result.generations)
            if self.shown and not result.error:
                self.shown.write([result])

    def close(self) -> None:
        if self.inputs:
            self.output.write_bytes(self.format(self.inputs))


class JsonLinesPrinter:
    """An object a line.

    Args:
        details: names of the task's further members.
    """

    def __init__(self, output: Stream, details: Iterable[str]) -> None:
        self.output = output
        self.details = details

    def write(self, results: Iterable[Result]) -> None:
        for row in _rows(results, self.details):
            self.output.write(f"{_json(row)}\n")
            self.output.flush()

    def close(self) -> None:
        pass


class JsonPrinter:
    """One list, written as results come."""

    def __init__(self, output: Stream, details: Iterable[str]) -> None:
        self.output = output
        self.details = details
        self.separator = "["

    def write(self, results: Iterable[Result]) -> None:
        for row in _rows(results, self.details):
            self.output.write(f"{self.separator}\n{_json(row)}")
            self.separator = ","
        self.output.flush()

    def close(self) -> None:
        self.output.write("[]\n" if self.separator == "[" else "\n]\n")


def _json(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


def _rows(results: Iterable[Result], details: Iterable[str]) -> Iterator[dict[str, Any]]:
    """What JSON says about results: an object for each output, best first; one without an output if there is none."""
    for result in results:
        error = result.error and result.error.as_json()
        if not result.generations:
            row: dict[str, Any] = {
                "input": result.input,
                "output": None,
                "score": None,
                "mean_log_prob": None,
                "attention": None,
                "error": error,
                "warnings": [],
            }
            yield row | dict.fromkeys(details)
        for generation in result.generations:
            attention = {name: weights.as_json() for name, weights in generation.attention.items()}
            yield {
                "input": result.input,
                "output": generation.output,
                "score": _finite(generation.score),
                "mean_log_prob": _finite(generation.mean_log_prob),
                "attention": attention or None,
                "error": error,
                "warnings": [*generation.warnings, *filter(None, [generation.doubt])],
                **generation.details,
            }


def _finite(number: float | None) -> float | None:
    return float(number) if number is not None and math.isfinite(number) else None


def _cleaned(generation: Generation) -> Generation:
    """The generation without control characters in what it says."""
    output = generation.output
    details = {name: [_clean(detail) for detail in given] for name, given in generation.details.items()}
    return replace(generation, output=printable(output, lines=True) if isinstance(output, str) else output, details=details)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    return {name: _clean(part) for name, part in value.items()} if isinstance(value, Mapping) else value
