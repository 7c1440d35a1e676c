"""What every task command does: load a model, run it over inputs, print results as they come.

Only light modules are imported here, since ``condgen TASK --help`` reaches this file.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from itertools import chain, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from condgen_cli import console
from condgen_cli.errors import CondgenError, NotFoundError, UsageError
from condgen_cli.lines import Texts, text_stem
from condgen_cli.options import Device, Format, parse_weights
from condgen_cli.plugins import manager
from condgen_cli.sources import Failure, stem
from condgen_cli.specs import resolve

if TYPE_CHECKING:
    from condgen_cli.decoding import Decoding
    from condgen_cli.generation import Generation
    from condgen_cli.item import Item
    from condgen_cli.lines import Text
    from condgen_cli.runner import Result, Runner
    from condgen_cli.specs import TaskSpec

__all__ = ["TaskOptions", "prepared", "run_task"]

ATTENTION_SUFFIXES = (".txt", ".png", ".html", ".json", ".npz")
LONGEST_TITLE = 60
SOME_FAILED = 4


@dataclass(frozen=True)
class TaskOptions:
    """The options of a task command, as ``condgen_cli.options`` describes them; ``format`` may be one of the task's own."""

    model: str
    device: Device = Device.auto
    seed: int = 0
    batch_size: int = 16
    beam: int | None = None
    nbest: int = 1
    length_penalty: float | None = None
    no_repeat_ngram: int | None = None
    max_length: int | None = None
    sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    weight: Sequence[str] | None = None
    force: str | None = None
    show_attention: bool = False
    save_attention: Path | None = None
    output: Path | None = None
    format: str = Format.text

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> TaskOptions:
        """The options among a command's arguments, which bear their names: ``TaskOptions.of(locals())``."""
        return cls(**{option.name: arguments[option.name] for option in fields(cls) if option.name in arguments})


def run_task(
    task: str,
    inputs: Iterable[str | Failure] | Texts,
    options: TaskOptions,
    choose: Callable[[str], str] | None = None,
) -> int:
    """Run a task's model over inputs and print a result for each, in order.

    Args:
        task: its name.
        inputs: what the task's reader takes: the paths that ``sources.expand`` gives, or ``lines.text_inputs``. A text gives a
            line for itself, an empty one if it fails.
        choose: the model for a path, for tasks whose inputs are of several kinds; None: always ``options.model``.
    Returns:
        the exit code: 0; 4 if some inputs failed; if all failed, the first error's own.
    Raises:
        UsageError: before any work, if options contradict each other.
        CondgenError: if the model can't be had.
    """
    spec = manager().tasks[task]
    if isinstance(inputs, Texts):
        _check(spec, options, inputs.several)
        return _Session(spec, options, inputs.several, live=inputs.live, texts=True).run(inputs)
    inputs, several = _peek(inputs)
    _check(spec, options, several)
    return _Session(spec, options, several, choose=choose).run(inputs)


def prepared(task: str, options: TaskOptions) -> tuple[Runner, Decoding, Any]:
    """What a command that talks with its user needs: the model, how it decodes, and the generator if it is to sample.

    Raises:
        UsageError: if options contradict each other.
        CondgenError: if the model can't be had.
    """
    _check(manager().tasks[task], options, several=False)
    runner, decoding = _loaded(task, options)
    return runner, decoding, _generator(runner, decoding, options)


def _loaded(task: str, options: TaskOptions) -> tuple[Runner, Decoding]:
    from condgen_cli.runner import load

    weights = parse_weights(options.weight or ())
    runner = load(options.model, options.device)
    if runner.task != task:
        raise UsageError(f"{options.model} is a model for {runner.task}, not for {task}", f"condgen list --task {task}")
    return runner, _decoding(runner, options, weights)


class _Session:
    """A loaded model and the places that its results go to.

    Args:
        several: whether there may be more than one input.
        live: whether inputs come as somebody writes them.
        texts: whether they are texts, which results are not told apart by.
        choose: see ``run_task``.
    """

    runner: Runner
    """The model of the result that is printed."""
    decoding: Decoding

    def __init__(
        self,
        spec: TaskSpec,
        options: TaskOptions,
        several: bool,
        live: bool = False,
        texts: bool = False,
        choose: Callable[[str], str] | None = None,
    ) -> None:
        self.spec = spec
        self.task = spec.name
        self.options = options
        self.several = several
        self.live = live
        self.texts = texts
        self.choose = choose
        if choose is None:
            self.runner, self.decoding = _loaded(self.task, options)
        self.details = {name: resolve(reference) for name, reference in spec.details.items()}
        self.collected = options.format == Format.text and options.output is not None and options.output.suffix in spec.files
        self.color = (options.output is None or self.collected) and console.use_color()
        self.shown: Callable[[Generation, bool], str] = resolve(spec.text) if spec.text else _output
        self.steps: Callable[[Generation, int, bool, str], str] | None = resolve(spec.steps) if spec.steps else None
        self.saved: set[Path] = set()
        self.warned: set[str] = set()

    @property
    def streams(self) -> bool:
        """Whether parts of an input are printed as they are done. A text's result has to be whole to be of use."""
        options = self.options
        whole = self.texts or options.format in (Format.json, Format.jsonl)
        return not (whole or options.nbest > 1 or options.show_attention or options.save_attention)

    def run(self, inputs: Iterable[str | Text | Item | Failure]) -> int:
        from condgen_cli.runner import by_input, whole

        failed: list[CondgenError] = []
        done = 0
        with self._printer() as printer, self._progress() as advance:
            for parts in by_input(self._results(inputs)):
                errors: list[CondgenError] = []
                printer.write(self._told(parts if self.streams else [self._saved(whole(parts))], errors))
                for error in errors:  # only now, when the line of the output has ended
                    console.fail(error)
                failed += errors[:1]
                done += not errors
                advance(1)
        if not failed:
            return 0
        return SOME_FAILED if done else failed[0].exit_code

    def _results(self, inputs: Iterable[str | Text | Item | Failure]) -> Iterator[Result]:
        """A result for each part of each input, with the task's details."""
        return self._run(inputs) if self.choose is None else self._chosen(inputs, self.choose)

    def _chosen(self, inputs: Iterable[str | Text | Item | Failure], choose: Callable[[str], str]) -> Iterator[Result]:
        """Inputs that follow one another and have the same model are run together."""
        models: dict[str, tuple[Runner, Decoding]] = {}
        for model, group in groupby(inputs, lambda one: choose(_name(one))):
            yield from self._run_on(model, group, models)

    def _run_on(
        self, model: str, inputs: Iterable[str | Text | Item | Failure], models: dict[str, tuple[Runner, Decoding]]
    ) -> Iterator[Result]:
        try:
            if model not in models:
                models[model] = _loaded(self.task, replace(self.options, model=model))
            self.runner, self.decoding = models[model]
        except CondgenError as error:
            reason = error
            return (_failed(one, reason) for one in inputs)
        return self._run(inputs)

    def _run(self, inputs: Iterable[str | Text | Item | Failure]) -> Iterator[Result]:
        from condgen_cli.runner import read_inputs

        options = self.options
        results = self.runner.stream(
            read_inputs(self.task, inputs),
            self.decoding,
            options.batch_size,
            options.force,
            _generator(self.runner, self.decoding, options),
            draw=options.show_attention or options.save_attention is not None,
            live=self.live,
            joined=False,
        )
        return map(self._detailed, results) if self.details else results

    def _detailed(self, result: Result) -> Result:
        return replace(result, generations=tuple(self._with_details(one, result.item) for one in result.generations))

    def _with_details(self, generation: Generation, item: Item | None) -> Generation:
        return replace(generation, details={name: function(generation, item) for name, function in self.details.items()})

    def _told(self, results: Iterable[Result], errors: list[CondgenError]) -> Iterator[Result]:
        """The results of an input, while the user is told what was not read; errors are kept."""
        for result in results:
            if result.error:
                errors.append(result.error)
            elif _is_empty(result) and not self.texts:
                console.warn(f"nothing to {self.task} in {result.source}")
            self._tell_unread(result)
            yield result

    @contextmanager
    def _printer(self) -> Iterator[_Printer]:
        format = self.options.format
        if format in self.spec.formats:
            yield _FilePrinter(resolve(self.spec.formats[format]), self)
            return
        if self.collected and self.options.output is not None:
            collecting = _CollectedPrinter(resolve(self.spec.files[self.options.output.suffix]), self.options.output, self)
            yield collecting
            collecting.close()
            return
        with self.opened(self.options.output) as output:
            printer = (_PartsPrinter if self.streams else _PRINTERS[format])(output, self)
            yield printer
            printer.close()

    def opened(self, path: Path | None) -> AbstractContextManager[TextIO]:
        """A file to write to; stdout without one."""
        if path is None:
            return nullcontext(sys.stdout)
        try:
            return path.open("w", encoding="utf-8")
        except OSError as error:
            raise CondgenError(f"cannot write {path}: {error.strerror or error}") from None

    def _progress(self) -> AbstractContextManager[Any]:
        # on a terminal the results themselves show how far it is
        if self.several and (self.options.output or not console.stdout_is_terminal()):
            return console.progress(None, self.task)
        return nullcontext(lambda amount: None)

    def attention_text(self, generation: Generation) -> str:
        """Its attention for the terminal, or for a file."""
        from condgen_cli.render import attention_text

        return attention_text(generation, width=console.width(), color=self.color, encoding=self._encoding)

    def steps_text(self, generation: Generation) -> str:
        """What the task tells of the steps of an output without attention; empty if nothing."""
        return self.steps(generation, console.width(), self.color, self._encoding) if self.steps else ""

    @property
    def _encoding(self) -> str:
        return "utf-8" if self.options.output else console.encoding()

    def _tell_unread(self, result: Result) -> None:
        """Name what the model could not read and did not copy, and whatever else it warns of, once for a source."""
        if result.generations:
            best = result.generations[0]
            for warning in dict.fromkeys(f"{result.source}: {warning}" for warning in best.warnings):
                if warning not in self.warned:
                    self.warned.add(warning)
                    console.warn(warning)
            lost = dict.fromkeys(text for text in best.unread if text not in str(best.output))
            if lost:
                console.warn(f"{result.source}: {self.runner.name} does not know {' '.join(lost)}")

    def _saved(self, result: Result) -> Result:
        """The result, its best generation's attention saved if that is wanted; with an error if that fails."""
        if self.options.save_attention is None or result.error or _is_empty(result):
            return result
        from condgen_cli.render import save_attention

        path = self.path(self.options.save_attention, result.source)
        try:
            save_attention(path, result.generations[0], f"{self.runner.name} · {self._title(result)}")
        except CondgenError as error:
            return replace(result, error=error)
        return result

    def _title(self, result: Result) -> str:
        if not self.texts:
            return Path(result.source).name
        text = result.input
        return text if len(text) <= LONGEST_TITLE else f"{text[: LONGEST_TITLE - 1]}…"

    def path(self, pattern: Path, source: str) -> Path:
        """``{stem}`` filled in; numbered where two inputs have the same name."""
        name = text_stem(source) if self.texts else stem(source)
        path, number = _filled(pattern, name), 1
        while path in self.saved:
            number += 1
            path = _filled(pattern, f"{name}-{number}")
        self.saved.add(path)
        return path


def _name(entry: str | Text | Item | Failure) -> str:
    return entry if isinstance(entry, str) else getattr(entry, "source", "")


def _failed(entry: str | Text | Item | Failure, error: CondgenError) -> Result:
    """The result of an input whose model can't be had."""
    from condgen_cli.runner import Result

    name = _name(entry)
    if isinstance(entry, Failure):
        return Result(entry.item, name, error=entry.error)
    return Result(None, name, error=type(error)(f"{name}: {error.message}", error.hint))


class _Printer(Protocol):
    """A format. An input's result is written at once, or part by part as they come if the session streams."""

    def write(self, results: Iterable[Result]) -> None: ...


class _TextPrinter:
    """A line for each output, after its input's name if there are several inputs and they have names.

    Between outputs of which one has several lines there is an empty line.
    """

    def __init__(self, output: TextIO, session: _Session) -> None:
        self.output = output
        self.session = session
        self.warned = False
        self.before: str | None = None

    def write(self, results: Iterable[Result]) -> None:
        session = self.session
        for result in results:
            if session.texts and not result.generations:
                print(file=self.output)  # the lines that follow keep their places
            for generation in result.generations:
                name = f"{result.source}: " if session.several and not session.texts else ""
                shown = f"{name}{session.shown(generation, session.color)}"
                if self.before is not None and "\n" in self.before + shown:
                    print(file=self.output)
                print(shown, file=self.output)
                self.before = shown
                if session.options.show_attention and not _is_empty(result):
                    self._show_attention(generation, result)
            self.output.flush()

    def _show_attention(self, generation: Generation, result: Result) -> None:
        told = self.session.attention_text(generation) if generation.attention else self.session.steps_text(generation)
        if told:
            print(f"\n{told.rstrip()}\n", file=self.output)
        elif result.item and result.item.parts > 1:
            console.warn(f"no attention to show for {result.source}: {self.session.runner.name} has none, or it is too large")
        elif not self.warned:
            console.warn(f"{self.session.runner.name} has no attention to show")
            self.warned = True

    def close(self) -> None:
        pass


class _PartsPrinter:
    """As ``_TextPrinter``, but a line grows with each part of its input."""

    def __init__(self, output: TextIO, session: _Session) -> None:
        self.output = output
        self.session = session

    def write(self, results: Iterable[Result]) -> None:
        before = ""
        for result in results:
            for generation in result.generations:
                if not before:
                    self.output.write(f"{result.source}: " if self.session.several else "")
                    before = "\n"
                if generation.output:
                    self.output.write(f"{' ' if before == ' ' else ''}{generation.output}")
                    before = " "
                self.output.flush()
        if before:
            print(file=self.output, flush=True)

    def close(self) -> None:
        pass


class _FilePrinter:
    """A task's own format, which makes a file of each input; an input that fails at once gives none."""

    def __init__(self, format: Callable[[Iterable[Generation]], Iterator[str]], session: _Session) -> None:
        self.format = format
        self.session = session

    def write(self, results: Iterable[Result]) -> None:
        results = iter(results)
        first = next(results)
        if first.error:
            return
        pattern = self.session.options.output
        with self.session.opened(pattern and self.session.path(pattern, first.source)) as output:
            for text in self.format(one for result in chain([first], results) for one in result.generations):
                output.write(text)
                output.flush()


class _CollectedPrinter:
    """A file of all outputs, written when they are done; on a terminal they are shown as they come."""

    def __init__(self, format: Callable[[Sequence[Sequence[Generation]]], bytes], path: Path, session: _Session) -> None:
        self.format = format
        self.path = path
        self.shown = _TextPrinter(sys.stdout, session) if console.stdout_is_terminal() else None
        self.inputs: list[tuple[Generation, ...]] = []

    def write(self, results: Iterable[Result]) -> None:
        for result in results:
            if result.generations:
                self.inputs.append(result.generations)
            if self.shown and not result.error:
                self.shown.write([result])

    def close(self) -> None:
        if not self.inputs:
            return
        content = self.format(self.inputs)
        part = self.path.with_name(f".{self.path.name}.part")
        try:
            part.write_bytes(content)
            part.replace(self.path)
        except OSError as error:
            raise CondgenError(f"cannot write {self.path}: {error.strerror or error}") from None


class _JsonLinesPrinter:
    """An object a line."""

    def __init__(self, output: TextIO, session: _Session) -> None:
        self.output = output
        self.details = session.details

    def write(self, results: Iterable[Result]) -> None:
        for row in _rows(results, self.details):
            print(json.dumps(row, ensure_ascii=False, allow_nan=False), file=self.output, flush=True)

    def close(self) -> None:
        pass


class _JsonPrinter:
    """One list, written as results come."""

    def __init__(self, output: TextIO, session: _Session) -> None:
        self.output = output
        self.details = session.details
        self.separator = "["

    def write(self, results: Iterable[Result]) -> None:
        for row in _rows(results, self.details):
            self.output.write(f"{self.separator}\n{json.dumps(row, ensure_ascii=False, allow_nan=False)}")
            self.separator = ","
        self.output.flush()

    def close(self) -> None:
        self.output.write("[]\n" if self.separator == "[" else "\n]\n")


_PRINTERS: dict[str, type[_TextPrinter] | type[_JsonPrinter] | type[_JsonLinesPrinter]] = {
    Format.text: _TextPrinter,
    Format.json: _JsonPrinter,
    Format.jsonl: _JsonLinesPrinter,
}


def _rows(results: Iterable[Result], details: Iterable[str]) -> Iterator[dict[str, Any]]:
    """What JSON says about results: an object for each output, best first; one without an output if there is none."""
    for result in results:
        error = result.error and result.error.as_json()
        if not result.generations:
            row: dict[str, Any] = {
                "input": result.input,
                "output": None,
                "score": None,
                "attention": None,
                "error": error,
                "warnings": [],
            }
            yield row | dict.fromkeys(details)
        for generation in result.generations:
            attention = {name: weights.as_json() for name, weights in generation.attention.items()}
            score = float(generation.score)
            yield {
                "input": result.input,
                "output": generation.output,
                "score": score if math.isfinite(score) else None,
                "attention": attention or None,
                "error": error,
                "warnings": list(generation.warnings),
                **generation.details,
            }


def _output(generation: Generation, color: bool) -> str:
    return str(generation.output)


def _peek(inputs: Iterable[str | Failure]) -> tuple[Iterator[str | Failure], bool]:
    """The inputs, and whether there are several."""
    iterator = iter(inputs)
    first = list(islice(iterator, 2))
    if not first:
        raise UsageError("no input")
    return chain(first, iterator), len(first) > 1


def _check(spec: TaskSpec, options: TaskOptions, several: bool) -> None:
    if options.sample and options.beam:
        raise UsageError("--sample draws outputs and --beam searches for them: give one of the two")
    if options.force is not None and (options.sample or options.beam or options.nbest > 1):
        raise UsageError("--force gives the output: it goes without --beam, --sample and --nbest")
    if options.format in spec.formats:
        _check_file_format(options, several)
    if options.save_attention is not None:
        _check_save_attention(options.save_attention, several)
    output = options.output
    if output and output.suffix in spec.files and not output.absolute().parent.is_dir():
        raise NotFoundError(f"the folder {output.parent} does not exist")


def _check_file_format(options: TaskOptions, several: bool) -> None:
    name = options.format
    if options.nbest > 1 or options.show_attention:
        raise UsageError(f"--format {name} holds one output and no attention: it goes without --nbest and --show-attention")
    output = options.output
    if several and (output is None or "{stem}" not in str(output)):
        path = output.with_stem(output.stem + "-{stem}") if output else f"{{stem}}.{name}"
        raise UsageError(f"with --format {name} several inputs need a file each", f"-o {path}")


def _check_save_attention(path: Path, several: bool) -> None:
    if path.suffix not in ATTENTION_SUFFIXES:
        raise UsageError(f"--save-attention {path} must end in {', '.join(ATTENTION_SUFFIXES)}")
    if several and "{stem}" not in str(path):
        raise UsageError(
            "several inputs would overwrite one --save-attention file",
            f"--save-attention {path.with_stem(path.stem + '-{stem}')}",
        )
    if "{stem}" not in str(path.parent) and not path.parent.is_dir():
        raise NotFoundError(f"the folder {path.parent} does not exist")


def _filled(pattern: Path, name: str) -> Path:
    return Path(str(pattern).replace("{stem}", name))


def _is_empty(result: Result) -> bool:
    """Whether there was nothing in the input, so that the model had nothing to look at."""
    return result.item is not None and not result.item.parts


def _decoding(runner: Runner, options: TaskOptions, weights: Mapping[str, float]) -> Decoding:
    """The model's own settings with what the user changed."""
    from condgen_cli.decoding import reweighted

    default = reweighted(runner.decoding, runner.model, weights) if weights else runner.decoding
    changes: dict[str, Any] = {"nbest": options.nbest}
    if options.length_penalty is not None:
        changes["length_penalty"] = options.length_penalty
    if options.no_repeat_ngram is not None:
        changes["no_repeat_ngram"] = options.no_repeat_ngram
    if options.max_length is not None:
        changes |= {"max_length": options.max_length, "min_length": min(default.min_length, options.max_length)}
    if options.sample:
        changes |= {
            "method": "sample",
            "temperature": options.temperature,
            "top_k": options.top_k,
            "top_p": options.top_p,
        }
    elif options.beam or options.nbest > (1 if default.method == "greedy" else default.beam):
        changes |= {"method": "beam", "beam": options.beam or options.nbest}
    return replace(default, **changes)


def _generator(runner: Runner, decoding: Decoding, options: TaskOptions) -> Any:
    if decoding.method != "sample":
        return None
    import torch

    return torch.Generator(runner.device).manual_seed(options.seed)
