"""What every task command does: load a model, run it over inputs, print results as they come.

Only light modules are imported here, since ``condgen TASK --help`` reaches this file.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, fields, replace
from itertools import chain, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condgen_cli import console, settings
from condgen_cli.errors import CondgenError, UsageError
from condgen_cli.files import OutputFile, check_output, refuse_input
from condgen_cli.limits import WIDEST_BEAM
from condgen_cli.lines import Texts
from condgen_cli.options import Device, Format, parse_weights
from condgen_cli.outputs import Destination, EachInput, Names, OneFile, Stdout, fill, is_pattern
from condgen_cli.plugins import manager
from condgen_cli.printable import printable
from condgen_cli.printers import (
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
from condgen_cli.sources import STDIN, Failure, Inputs
from condgen_cli.specs import named, resolve

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
    """The options of a task command, as ``condgen_cli.options`` describes them. ``format`` may be one of the task's own; None
    leaves it to the suffix of ``output``.

    None of another option leaves the choice to the model's own setting. What has no effect beside the others is refused
    (``run_task``), but for ``seed``: it names a run, also one that draws nothing.
    """

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
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    weight: Sequence[str] | None = None
    force: str | None = None
    show_attention: bool = False
    save_attention: Path | None = None
    output: Path | None = None
    format: str | None = None

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> TaskOptions:
        """The options among a command's arguments, which bear their names: ``TaskOptions.of(locals())``."""
        return cls(**{option.name: arguments[option.name] for option in fields(cls) if option.name in arguments})


def run_task(
    task: str,
    inputs: Iterable[str | Failure] | Texts,
    options: TaskOptions,
    choose: Callable[[Item], str] | None = None,
) -> int:
    """Run a task's model over inputs and print a result for each, in order.

    Args:
        task: its name.
        inputs: what the task's reader takes: the paths that ``sources.expand`` gives, or ``lines.text_inputs``. A text gives a
            line for itself, an empty one if it fails.
        choose: the model for what was read, for tasks whose inputs are of several kinds; None: always ``options.model``.
    Returns:
        the exit code: 0; 4 if some inputs failed; if all failed, the first error's own.
    Raises:
        UsageError: before any work, if options contradict each other.
        CondgenError: if the model can't be had.
    """
    spec = named(manager().tasks, "task", task)
    options = _with_format(spec, options)
    if isinstance(inputs, Texts):
        _check(spec, options, inputs.several)
        check_outputs(options, ())
        return _Session(spec, options, inputs.several, live=inputs.live, texts=True).run(inputs)
    found = inputs if isinstance(inputs, Inputs) else Inputs(iter(inputs), ())
    inputs, several = _peek(found)
    _check(spec, options, several)
    check_outputs(options, found.files)
    code = _Session(spec, options, several, live=found.live, choose=choose, count=found.count).run(inputs)
    found.tell_left_out()
    return code


def prepared(task: str, options: TaskOptions) -> tuple[Runner, Decoding]:
    """What a command that talks with its user needs: the model, and how it decodes.

    Raises:
        UsageError: if options contradict each other.
        CondgenError: if the model can't be had.
    """
    _check(named(manager().tasks, "task", task), options, several=False)
    return _loaded(task, options)


def _loaded(task: str, options: TaskOptions) -> tuple[Runner, Decoding]:
    from condgen_cli.runner import describe, load

    weights = parse_weights(options.weight or ())
    model = describe(options.model)
    if model.task != task:
        raise UsageError(f"{options.model} is a model for {model.task}, not for {task}", "condgen list")
    _check_choices(options, model.decoding.method == "sample")
    runner = load(options.model, options.device)
    check_outputs(options, ())  # the model's own files are inputs as well
    return runner, _decoding(runner, options, weights)


class _Session:
    """A loaded model and the places that its results go to.

    Args:
        several: whether there may be more than one input.
        live: whether inputs come as somebody writes them.
        texts: whether they are texts, which results are not told apart by.
        choose: see ``run_task``.
        count: how many inputs there are; None if that isn't known.
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
        choose: Callable[[Item], str] | None = None,
        count: int | None = None,
    ) -> None:
        self.count = count
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
        self.maps = None if options.save_attention is None else Names(options.save_attention)
        self.warned: set[str] = set()
        self.begun = False

    @property
    def streams(self) -> bool:
        """Whether parts of an input are printed as they are done. A text's result has to be whole to be of use."""
        options = self.options
        whole = self.texts or options.format in (Format.json, Format.jsonl)
        return not (whole or options.nbest > 1 or options.show_attention or options.save_attention)

    def run(self, inputs: Iterable[str | Text | Item | Failure]) -> int:
        from condgen_cli.runner import group_by_input

        failed: list[CondgenError] = []
        done = 0
        with self._destination() as destination, self._progress() as advance, self._progress_within() as show:
            for parts in group_by_input(self._results(inputs)):
                errors: list[CondgenError] = []
                self.begun = True
                self._write(destination, _shown(parts, show), errors)
                for error in {error.message: error for error in errors}.values():  # only now, when the line has ended
                    console.fail(error)
                failed += errors[:1]
                done += not errors
                advance(1)
            destination.close(bool(done) or not failed)
        if not failed:
            return 0
        return SOME_FAILED if done else failed[0].exit_code

    def _write(self, destination: Destination, parts: Iterator[Result], errors: list[CondgenError]) -> None:
        """Print an input's results. If each input has a file of its own, one that can't be written is that input's error."""
        from condgen_cli.runner import join_parts

        each = isinstance(destination, EachInput)
        results = parts if self.streams else iter([self._saved(join_parts(parts))])
        first = next(results)
        told = self._told(chain([first], results), errors)
        if each and first.error:
            deque(told, maxlen=0)
            return
        try:
            with destination.printer(first.source) as printer:
                printer.write(told)
        except CondgenError as error:
            if not each:
                raise
            errors.append(error)

    def _results(self, inputs: Iterable[str | Text | Item | Failure]) -> Iterator[Result]:
        """A result for each part of each input, with the task's details."""
        return self._run(inputs) if self.choose is None else self._chosen(inputs, self.choose)

    def _chosen(self, inputs: Iterable[str | Text | Item | Failure], choose: Callable[[Item], str]) -> Iterator[Result]:
        """Inputs that follow one another and have the same model are run together."""
        from condgen_cli.runner import Result, read_inputs

        models: dict[str, tuple[Runner, Decoding]] = {}
        last: str | None = None

        def model_for(entry: Item | Failure) -> str | None:
            nonlocal last
            if not isinstance(entry, Failure):
                last = choose(entry)
            return last  # a failure needs no model, and goes with what comes before it

        for model, group in groupby(read_inputs(self.task, inputs), model_for):
            if model is None:
                yield from (Result(one.item, one.source, error=one.error) for one in group if isinstance(one, Failure))
            else:
                yield from self._run_on(model, group, models)

    def _run_on(
        self, model: str, inputs: Iterable[str | Text | Item | Failure], models: dict[str, tuple[Runner, Decoding]]
    ) -> Iterator[Result]:
        try:
            if model not in models:
                models[model] = _loaded(self.task, replace(self.options, model=model))
            self.runner, self.decoding = models[model]
        except UsageError:  # of the command line, not of these inputs
            raise
        except CondgenError as error:
            reason = error
            return (_failed(one, reason) for one in inputs)
        return self._run(inputs)

    def _run(self, inputs: Iterable[str | Text | Item | Failure]) -> Iterator[Result]:
        from condgen_cli.runner import Request, read_inputs

        options = self.options
        request = Request(
            self.decoding,
            options.batch_size,
            options.force,
            options.seed,
            conditions=options.show_attention or options.save_attention is not None,
            live=self.live,
            join_parts=False,
        )
        results = self.runner.stream(read_inputs(self.task, inputs), request)
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
            elif result.is_empty and not self.texts:
                console.warn(f"nothing to {self.task} in {result.source}")
            self._tell_unread(result)
            yield result

    @contextmanager
    def _destination(self) -> Iterator[Destination]:
        """Where results go; what was done is kept if something stops the command."""
        destination = self._make_destination()
        try:
            yield destination
        except BaseException as error:
            if not self.begun:
                destination.abandon()
                raise
            if isinstance(error, CondgenError) and self.options.format in (Format.json, Format.jsonl):
                self._print_error(destination, error)
            destination.interrupt()
            raise

    def _print_error(self, destination: Destination, error: CondgenError) -> None:
        """End a document with what stopped the command."""
        from condgen_cli.runner import Result

        error.printed = True
        with suppress(CondgenError), destination.printer("") as printer:
            printer.write([Result(None, "", error=error)])

    def _make_destination(self) -> Destination:
        options = self.options
        path = options.output
        if path is None:
            return Stdout(self._printer)
        if is_pattern(path):
            return EachInput(Names(path), self._printer)
        return OneFile(path, self._printer, keeps_errors=options.format in (Format.json, Format.jsonl))

    def _printer(self, output: Stream) -> Printer:
        """A printer of the format."""
        format = self.options.format or Format.text
        if format in self.spec.formats:
            return FormatPrinter(output, resolve(self.spec.formats[format]))
        if isinstance(output, OutputFile) and format in self.spec.files:
            shown = TextPrinter(sys.stdout, self._style(True)) if console.stdout_is_terminal() else None
            return CollectedPrinter(output, resolve(self.spec.files[format]), shown)
        if format == Format.json:
            return JsonPrinter(output, self.details)
        if format == Format.jsonl:
            return JsonLinesPrinter(output, self.details)
        return (PartsPrinter if self.streams else TextPrinter)(output, self._style(self.options.output is None))

    def _style(self, on_stdout: bool) -> Style:
        options, spec = self.options, self.spec
        pattern = options.output is not None and is_pattern(options.output)
        return Style(
            shown=resolve(spec.text) if spec.text else _output,
            steps=resolve(spec.steps) if spec.steps else None,
            named=self.several and not self.texts and not pattern,
            keeps_lines=self.texts and not pattern,
            attention=options.show_attention,
            color=on_stdout and console.use_color(),
            encoding=console.encoding() if on_stdout else "utf-8",
            model=lambda: self.runner.name,
        )

    def _progress(self) -> AbstractContextManager[Any]:
        if self.several and (self.options.output or not console.stdout_is_terminal()):
            return console.progress(self.count, self.task)
        return nullcontext(lambda amount: None)

    def _progress_within(self) -> AbstractContextManager[Any]:
        """How far it is in one long input, unless its parts are shown as they are done."""
        shown = self.streams and self.options.output is None and console.stdout_is_terminal()
        if self.several or self.texts or shown:
            return nullcontext(lambda done, total: None)
        return console.progress_in_time(self.task)

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
        if self.maps is None or result.error or result.is_empty:
            return result
        from condgen_cli.render import save_attention

        path = self.maps.path(result.source)
        try:
            save_attention(path, result.generations[0], f"{self.runner.name} · {self._title(result)}")
        except CondgenError as error:
            return replace(result, error=error)
        except Exception as error:  # a label that some font or library can't draw costs the drawing only
            if settings.debugging():
                raise
            reason = str(error).partition("\n")[0]
            return replace(result, error=CondgenError(f"cannot draw {path}: {type(error).__name__}: {reason}"))
        return result

    def _title(self, result: Result) -> str:
        text = printable(result.input if self.texts else Path(result.source).name)
        if not self.texts:
            return text
        return text if len(text) <= LONGEST_TITLE else f"{text[: LONGEST_TITLE - 1]}…"


def _shown(parts: Iterable[Result], show: Callable[[float | None, float | None], None]) -> Iterator[Result]:
    """The parts of an input, while it is shown how far it is, if its reader tells times."""
    for result in parts:
        yield result
        if result.item is not None and result.item.parts > 1 and "end" in result.item.meta:
            show(result.item.meta["end"], result.item.meta.get("duration"))
    show(None, None)


def _name(entry: str | Text | Item | Failure) -> str:
    return entry if isinstance(entry, str) else getattr(entry, "source", "")


def _failed(entry: str | Text | Item | Failure, error: CondgenError) -> Result:
    """The result of an input whose model can't be had."""
    from condgen_cli.runner import Result

    name = _name(entry)
    if isinstance(entry, Failure):
        return Result(entry.item, name, error=entry.error)
    return Result(None, name, error=type(error)(f"{name}: {error.message}", error.hint))


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
    _check_decoding(options)
    if options.show_attention:
        _check_shown(spec, options)
    if options.format in spec.formats:
        _check_file_format(options, several)
    if options.save_attention is not None:
        _check_save_attention(options.save_attention, several)


def _given(options: TaskOptions, *names: str) -> list[str]:
    """Those of some options that were given, as they are written."""
    defaults = TaskOptions(options.model)
    given = [name for name in names if getattr(options, name) != getattr(defaults, name)]
    return ["--" + name.replace("_", "-") for name in given]


DRAWING = ("temperature", "top_k", "top_p")
SEARCHING = ("beam", "length_penalty")
WRITING = (*DRAWING, *SEARCHING, "sample", "nbest", "no_repeat_ngram", "max_length", "weight")


def _check_decoding(options: TaskOptions) -> None:
    """Raises for what contradicts itself with any model."""
    if options.force is not None and (moot := _given(options, *WRITING)):
        raise UsageError(f"--force gives the output: it goes without {', '.join(moot)}")
    if options.sample and options.beam:
        raise UsageError("--sample draws outputs and --beam searches for them: give one of the two")
    if options.beam and options.nbest > options.beam:
        raise UsageError(f"a beam of {options.beam} holds no {options.nbest} outputs", f"--beam {options.nbest}")
    if options.sample or options.beam:
        _check_choices(options, drawn=options.sample)


def _check_choices(options: TaskOptions, drawn: bool) -> None:
    """Raises for what does nothing where outputs are drawn, or searched for; ``drawn``: the model's own way."""
    if options.sample or options.beam:
        drawn = options.sample
    if options.force is not None:
        return
    if drawn and (moot := _given(options, *SEARCHING)):
        raise UsageError(f"{moot[0]} is for a search, and outputs are drawn", "--beam 5")
    if not drawn and (moot := _given(options, *DRAWING)):
        raise UsageError(f"{moot[0]} is for drawing outputs, and the likeliest are searched for", "--sample")
    if not drawn and options.nbest > WIDEST_BEAM:
        raise UsageError(f"--nbest can't exceed {WIDEST_BEAM} in a search", "--sample")


def _check_shown(spec: TaskSpec, options: TaskOptions) -> None:
    if options.format in spec.files:
        raise UsageError(f"{options.output} is a picture: it goes without --show-attention", "-o FILE.txt")


def _check_file_format(options: TaskOptions, several: bool) -> None:
    name = options.format
    if options.nbest > 1 or options.show_attention:
        raise UsageError(f"--format {name} holds one output and no attention: it goes without --nbest and --show-attention")
    output = options.output
    if several and (output is None or not is_pattern(output)):
        path = output.with_stem(output.stem + "-{stem}") if output else f"{{stem}}.{name}"
        raise UsageError(f"with --format {name} several inputs need a file each", f"-o {path}")


def _check_save_attention(path: Path, several: bool) -> None:
    if path.suffix not in ATTENTION_SUFFIXES:
        raise UsageError(f"--save-attention {path} must end in {', '.join(ATTENTION_SUFFIXES)}")
    if several and not is_pattern(path):
        raise UsageError(
            "several inputs would overwrite one --save-attention file",
            f"--save-attention {path.with_stem(path.stem + '-{stem}')}",
        )


def _with_format(spec: TaskSpec, options: TaskOptions) -> TaskOptions:
    """The options with a format, which the suffix of ``-o`` decides if nothing else does; ``-o -`` is stdout."""
    output = options.output
    format = options.format
    if format is None:
        suffix = output.suffix.lower() if output else ""
        known = {*spec.formats, Format.json, Format.jsonl}
        format = suffix if suffix in spec.files else suffix[1:] if suffix[1:] in known else Format.text
    return replace(options, format=format, output=None if output == Path(STDIN) else output)


def check_outputs(options: TaskOptions, files: Iterable[str]) -> None:
    """Find out before any work whether the outputs may be written where they are to go.

    Args:
        files: the inputs that the command line names.
    Raises:
        UsageError: if an output is an input, a folder, or another output.
        NotFoundError: if its folder doesn't exist.
    """
    if options.output is not None and options.output == options.save_attention:
        raise UsageError(f"-o and --save-attention are both {options.output}", "give them different names")
    for path in (options.output, options.save_attention):
        if path is None:
            continue
        if not is_pattern(path.parent):
            check_output(path)
        for file in files:
            refuse_input(fill(path, file))


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
    changes |= {name: getattr(options, name) for name in DRAWING if getattr(options, name) is not None}
    if options.sample or (default.method == "sample" and not options.beam):
        changes["method"] = "sample"
    elif options.beam or options.nbest > (1 if default.method == "greedy" else default.beam):
        changes |= {"method": "beam", "beam": options.beam or options.nbest}
    return replace(default, **changes)
