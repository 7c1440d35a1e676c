"""What becomes of a task's results: they are printed where they are to go, attention is saved, the user is told what failed.

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
"""Characters of a text that stand above its attention."""

JSON = (Format.json, Format.jsonl)


class Delivery:
    """The way of one command's results to where they are to go.

    Args:
        session: where they come from, with the task's spec and the options.
        several: whether there may be more than one input.
        texts: whether inputs are texts, which name no results and no files.
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
        """Where results go; what was done is kept if something stops the command."""
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
        """Print an input's results, and warn of what the model could not read.

        Args:
            destination: as ``open`` gives it.
            parts: at least one result, as they come.
        Returns:
            what went wrong with the input. If each input has a file of its own, one that can't be written is among it.
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
        """A bar of the inputs that are done, if there are several and the results are not seen as they come."""
        if self._several and (self._options.output or not console.stdout_is_terminal()):
            return console.progress(count, self._spec.name)
        return nullcontext(lambda amount: None)

    def progress_within(self) -> AbstractContextManager[Callable[[float | None, float | None], None]]:
        """How far it is in one long input, unless its parts are shown as they are done."""
        visible = self._streams and self._options.output is None and console.stdout_is_terminal()
        if self._several or self._texts or visible:
            return nullcontext(lambda done, total: None)
        return console.progress_in_time(self._spec.name)

    @property
    def _streams(self) -> bool:
        """Whether parts of an input are printed as they are done. A text's result has to be whole to be of use."""
        options = self._options
        whole = self._texts or options.format in JSON
        return not (whole or options.nbest > 1 or options.show_attention or options.save_attention)

    def _check(self, results: Iterable[Result], errors: list[CondgenError]) -> Iterator[Result]:
        """The results of an input, while the user is told what was not read; errors are kept."""
        for result in results:
            if result.error:
                errors.append(result.error)
            elif result.is_empty and not self._texts:
                console.warn(f"nothing to {self._spec.name} in {result.source}")
            self._warn(result)
            yield result

    def _warn(self, result: Result) -> None:
        """Name what the model could not read and did not copy, and whatever else it warns of, once for a source."""
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
        """The result, its best generation's attention saved if that is wanted; with an error if that fails."""
        if self._maps is None or result.error or result.is_empty:
            return result
        from condgen_cli.render import save_attention

        path = self._maps.path(result.source)
        try:
            save_attention(path, result.generations[0], f"{self._session.model} · {self._title(result)}")
        except CondgenError as error:
            return replace(result, error=error)
        except Exception as error:  # a label that some font or library can't draw costs the drawing only
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
        """End a document with what stopped the command."""
        from condgen_cli.running.runner import Result

        error.printed = True
        with suppress(CondgenError), destination.printer("") as printer:
            printer.write([Result(None, "", error=error)], self._session.model)

    def _printer(self, output: Stream) -> Printer:
        """A printer of the format."""
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
