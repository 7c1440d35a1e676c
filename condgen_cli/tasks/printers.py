"""Printers of results: text, JSON, JSON lines, or a format of the task.

A printer gets the results of one input at a time and writes them to a stream. In text for people, control characters from
inputs, models and file names are escaped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from condgen_cli.terminal import console
from condgen_cli.terminal.printable import printable

if TYPE_CHECKING:
    from condgen_cli.files import OutputFile
    from condgen_cli.generation import Generation
    from condgen_cli.running.runner import Result

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
    """A stream that printers write to."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> None: ...


@dataclass(frozen=True)
class Style:
    """How results are printed as text.

    Args:
        text: formats an output, ``(generation, color) -> str``.
        steps: formats the generation steps of an output without attention, ``(generation, width, color, encoding) -> str``;
            None: it can't.
        with_names: whether an output is preceded by its input's name.
        keeps_lines: whether a failed input leaves an empty line, so that lines match the inputs.
        attention: whether attention is printed after its output.
        color: whether colours may be used.
        encoding: encoding of the stream.
    """

    text: Callable[[Generation, bool], str]
    steps: Callable[[Generation, int, bool, str], str] | None
    with_names: bool
    keeps_lines: bool
    attention: bool
    color: bool
    encoding: str

    def output_text(self, generation: Generation) -> str:
        """An output as printed text."""
        text = self.text(_escape_generation(generation), self.color)
        return f"{text}  ({printable(generation.doubt)})" if generation.doubt else text

    def attention_text(self, generation: Generation) -> str:
        """The attention, or else the generation steps; empty if there is neither."""
        if not generation.attention:
            return self.steps(generation, console.width(), self.color, self.encoding) if self.steps else ""
        from condgen_cli.render import attention_text

        return attention_text(generation, width=console.width(), color=self.color, encoding=self.encoding)


class Printer(Protocol):
    """Writes results in one format."""

    def write(self, results: Iterable[Result], model: str) -> None:
        """Write the results of one input.

        Args:
            results: one result, or one for each part of the input, as they arrive.
            model: name of the model, for messages.
        """

    def close(self) -> None:
        """End the document."""


class TextPrinter:
    """A line for each output. Outputs of several lines are separated by empty lines."""

    def __init__(self, output: Stream, style: Style) -> None:
        self.output = output
        self.style = style
        self.warned = False
        self.before: str | None = None

    def write(self, results: Iterable[Result], model: str) -> None:
        for result in results:
            if self.style.keeps_lines and not result.generations:
                self.output.write("\n")
            for generation in result.generations:
                name = f"{printable(result.source)}: " if self.style.with_names else ""
                text = f"{name}{self.style.output_text(generation)}"
                if self.before is not None and "\n" in self.before + text:
                    self.output.write("\n")
                self.output.write(f"{text}\n")
                self.before = text
                if self.style.attention and not result.is_empty:
                    self._show_attention(generation, result, model)
            self.output.flush()

    def _show_attention(self, generation: Generation, result: Result, model: str) -> None:
        if text := self.style.attention_text(generation):
            self.output.write(f"\n{text.rstrip()}\n\n")
        elif result.item and result.item.parts > 1:
            console.warn(f"no attention to show for {result.source}: {model} has none, or it is too large")
        elif not self.warned:
            console.warn(f"{model} has no attention to show")
            self.warned = True

    def close(self) -> None:
        pass


class PartsPrinter:
    """A line for each input, extended as each of its parts is done."""

    def __init__(self, output: Stream, style: Style) -> None:
        self.output = output
        self.style = style

    def write(self, results: Iterable[Result], model: str) -> None:
        before = ""
        for result in results:
            for generation in result.generations:
                if not before:
                    self.output.write(f"{printable(result.source)}: " if self.style.with_names else "")
                    before = "\n"
                if generation.output:
                    self.output.write(f"{' ' if before == ' ' else ''}{_escape_generation(generation).output}")
                    before = " "
                self.output.flush()
        if before:
            self.output.write("\n")
            self.output.flush()

    def close(self) -> None:
        pass


class FormatPrinter:
    """A format of the task for one input."""

    def __init__(self, output: Stream, format: Callable[[Iterable[Generation]], Iterator[str]]) -> None:
        self.output = output
        self.format = format

    def write(self, results: Iterable[Result], model: str) -> None:
        for text in self.format(_escape_generation(one) for result in results for one in result.generations):
            self.output.write(text)
            self.output.flush()

    def close(self) -> None:
        pass


class CollectedPrinter:
    """A file of all outputs, made at the end; meanwhile each output can be printed as a text preview.

    Args:
        output: the output file.
        format: makes the file's content from the generations of each input that has any.
        preview: printer of the preview; None: no preview.
    """

    def __init__(
        self, output: OutputFile, format: Callable[[Sequence[Sequence[Generation]]], bytes], preview: TextPrinter | None
    ) -> None:
        self.output = output
        self.format = format
        self.preview = preview
        self.inputs: list[tuple[Generation, ...]] = []

    def write(self, results: Iterable[Result], model: str) -> None:
        for result in results:
            if result.generations:
                self.inputs.append(result.generations)
            if self.preview and not result.error:
                self.preview.write([result], model)

    def close(self) -> None:
        if self.inputs:
            self.output.write_bytes(self.format(self.inputs))


class JsonLinesPrinter:
    """One JSON object per line.

    Args:
        details: names of the task's further members, taken from ``Generation.details``.
    """

    def __init__(self, output: Stream, details: Sequence[str]) -> None:
        self.output = output
        self.details = details

    def write(self, results: Iterable[Result], model: str) -> None:
        for row in _rows(results, self.details):
            self.output.write(f"{_json(row)}\n")
            self.output.flush()

    def close(self) -> None:
        pass


class JsonPrinter:
    """One JSON list, written as results arrive."""

    def __init__(self, output: Stream, details: Sequence[str]) -> None:
        self.output = output
        self.details = details
        self.separator = "["

    def write(self, results: Iterable[Result], model: str) -> None:
        for row in _rows(results, self.details):
            self.output.write(f"{self.separator}\n{_json(row)}")
            self.separator = ","
        self.output.flush()

    def close(self) -> None:
        self.output.write("[]\n" if self.separator == "[" else "\n]\n")


def _json(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


def _rows(results: Iterable[Result], details: Sequence[str]) -> Iterator[dict[str, Any]]:
    """JSON objects, one for each output, best first; for an input without outputs, one whose output is null."""
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
            yield {**row, **dict.fromkeys(details)}
        for generation in result.generations:
            attention = {name: weights.as_json() for name, weights in generation.attention.items()}
            yield {
                "input": result.input,
                "output": generation.output,
                "score": _finite(generation.score),
                "mean_log_prob": _finite(generation.mean_log_prob),
                **({} if generation.confidence is None else {"confidence": round(generation.confidence, 3)}),
                "attention": attention or None,
                "error": error,
                "warnings": [*generation.warnings, *filter(None, [generation.doubt])],
                **{name: generation.details.get(name, []) for name in details},
            }


def _finite(number: float | None) -> float | None:
    return float(number) if number is not None and math.isfinite(number) else None


def _escape_generation(generation: Generation) -> Generation:
    """The generation with control characters in its output and details escaped."""
    output = generation.output
    details = {name: [_escape_details(detail) for detail in values] for name, values in generation.details.items()}
    return replace(generation, output=printable(output, lines=True) if isinstance(output, str) else output, details=details)


def _escape_details(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    return {name: _escape_details(part) for name, part in value.items()} if isinstance(value, Mapping) else value
