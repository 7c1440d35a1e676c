"""Delivery of a task's results: printing them, saving attention, reporting warnings and errors.

Only light modules are imported here, since ``condgen TASK --help`` reaches this file.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from condgen_cli import settings
from condgen_cli.errors import CondgenError
from condgen_cli.files import OutputFile
from condgen_cli.options import Format
from condgen_cli.specs import resolve
from condgen_cli.tasks.outputs import Destination, EachInput, Names, OneFile, Stdout, is_pattern
from condgen_cli.tasks.printers import (
    CollectedPrinter,
    FormatPrinter,
    JsonLinesPrinter,
    JsonPrinter,
    PartsPrinter,
    Printer,
    Stream,
    Style,
    TextPrinter,
)
from condgen_cli.terminal import console
from condgen_cli.terminal.printable import printable

if TYPE_CHECKING:
    from condgen_cli.generation import Generation
    from condgen_cli.running.runner import Result
    from condgen_cli.tasks.session import Session

__all__ = ["Delivery"]

LONGEST_TITLE = 60
"""Longest title of an attention figure, in characters."""

JSON = (Format.json, Format.jsonl)


class Delivery:
    """Delivers the results of one command to their destination.

    Args:
        session: source of the results, with the task's spec and the options.
        several: whether there may be more than one input.
        texts: whether inputs are texts; these are not named in outputs.
    """

    def __init__(self, session: Session, several: bool, texts: bool) -> None:
        self._session = session
        self._spec = session.spec
        self._options = session.options
        self._several = several
        self._texts = texts
        path = session.options.save_attention
        self._maps = None if path is None else Names(path)
        self._warnings: set[str] = set()
        self._begun = False

    @contextmanager
    def open(self) -> Iterator[Destination]:
        """Open the destination; the results so far are kept if the command is stopped."""
        destination = self._destination()
        try:
            yield destination
        except BaseException as error:
            if not self._begun:
                destination.abandon()
                raise
            if isinstance(error, CondgenError) and self._options.format in JSON:
                self._print_error(destination, error)
            destination.interrupt()
            raise

    def write(self, destination: Destination, parts: Iterator[Result]) -> list[CondgenError]:
        """Print an input's results, and warn of parts that the model could not read.

        Args:
            destination: the destination that ``open`` yields.
            parts: at least one result, as they arrive.
        Returns:
            the errors of the input; if each input has its own file, also that of writing it.
        """
        from condgen_cli.running.runner import join_parts

        self._begun = True
        errors: list[CondgenError] = []
        each = isinstance(destination, EachInput)
        results = parts if self._streams else iter([self._save_attention(join_parts(parts))])
        first = next(results)
        checked = self._check(chain([first], results), errors)
        if each and first.error:
            deque(checked, maxlen=0)
            return errors
        try:
            with destination.printer(first.source) as printer:
                printer.write(checked, self._session.model)
        except CondgenError as error:
            if not each:
                raise
            errors.append(error)
        return errors

    def progress(self, count: int | None) -> AbstractContextManager[Callable[[int], None]]:
        """A progress bar of inputs, if there are several and the results are not printed to a terminal."""
        if self._several and (self._options.output or not console.stdout_is_terminal()):
            return console.progress(count, self._spec.name)
        return nullcontext(lambda amount: None)

    def progress_within(self) -> AbstractContextManager[Callable[[float | None, float | None], None]]:
        """A progress display within one long input, unless its parts are shown as they are done."""
        visible = self._streams and self._options.output is None and console.stdout_is_terminal()
        if self._several or self._texts or visible:
            return nullcontext(lambda done, total: None)
        return console.progress_in_time(self._spec.name)

    @property
    def _streams(self) -> bool:
        """Whether the parts of an input are printed as they are done; the result of a text is printed only when it is
        complete."""
        options = self._options
        whole = self._texts or options.format in JSON
        return not (whole or options.nbest > 1 or options.show_attention or options.save_attention)

    def _check(self, results: Iterable[Result], errors: list[CondgenError]) -> Iterator[Result]:
        """Pass on the results of an input, print warnings, and collect the errors."""
        for result in results:
            if result.error:
                errors.append(result.error)
            elif result.is_empty and not self._texts:
                console.warn(f"nothing to {self._spec.name} in {result.source}")
            self._warn(result)
            yield result

    def _warn(self, result: Result) -> None:
        """Warn of parts that the model could neither read nor copy, and print other warnings once for each source."""
        if not result.generations:
            return
        best = result.generations[0]
        for warning in dict.fromkeys(f"{result.source}: {warning}" for warning in best.warnings):
            if warning not in self._warnings:
                self._warnings.add(warning)
                console.warn(warning)
        lost = dict.fromkeys(text for text in best.unread if text not in str(best.output))
        if lost:
            console.warn(f"{result.source}: {self._session.model} does not know {' '.join(lost)}")

    def _save_attention(self, result: Result) -> Result:
        """Save the attention of the best generation if requested; returns the result, with an error if saving failed."""
        if self._maps is None or result.error or result.is_empty:
            return result
        from condgen_cli.render import save_attention

        path = self._maps.path(result.source)
        try:
            save_attention(path, result.generations[0], f"{self._session.model} · {self._title(result)}")
        except CondgenError as error:
            return replace(result, error=error)
        except Exception as error:  # a label that can't be drawn fails the drawing only
            if settings.debugging():
                raise
            reason = str(error).partition("\n")[0]
            return replace(result, error=CondgenError(f"cannot draw {path}: {type(error).__name__}: {reason}"))
        return result

    def _title(self, result: Result) -> str:
        text = printable(result.input if self._texts else Path(result.source).name)
        if not self._texts:
            return text
        return text if len(text) <= LONGEST_TITLE else f"{text[: LONGEST_TITLE - 1]}…"

    def _destination(self) -> Destination:
        path = self._options.output
        if path is None:
            return Stdout(self._printer)
        if is_pattern(path):
            return EachInput(Names(path), self._printer)
        return OneFile(path, self._printer, keeps_errors=self._options.format in JSON)

    def _print_error(self, destination: Destination, error: CondgenError) -> None:
        """End a document with the error that stopped the command."""
        from condgen_cli.running.runner import Result

        error.printed = True
        with suppress(CondgenError), destination.printer("") as printer:
            printer.write([Result(None, "", error=error)], self._session.model)

    def _printer(self, output: Stream) -> Printer:
        """The printer of the chosen format."""
        spec, format = self._spec, self._options.format or Format.text
        if format in spec.formats:
            return FormatPrinter(output, resolve(spec.formats[format]))
        if isinstance(output, OutputFile) and format in spec.files:
            preview = TextPrinter(sys.stdout, self._style(on_stdout=True)) if console.stdout_is_terminal() else None
            return CollectedPrinter(output, resolve(spec.files[format]), preview)
        if format == Format.json:
            return JsonPrinter(output, spec.details)
        if format == Format.jsonl:
            return JsonLinesPrinter(output, spec.details)
        return (PartsPrinter if self._streams else TextPrinter)(output, self._style(self._options.output is None))

    def _style(self, on_stdout: bool) -> Style:
        options, spec = self._options, self._spec
        each = options.output is not None and is_pattern(options.output)
        return Style(
            text=resolve(spec.text) if spec.text else _output_text,
            steps=resolve(spec.steps) if spec.steps else None,
            with_names=self._several and not self._texts and not each,
            keeps_lines=self._texts and not each,
            attention=options.show_attention,
            color=on_stdout and console.use_color(),
            encoding=console.encoding() if on_stdout else "utf-8",
        )


def _output_text(generation: Generation, color: bool) -> str:
    return str(generation.output)
