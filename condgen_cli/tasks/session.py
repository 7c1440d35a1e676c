"""The models of a task's command: options become decoding settings, inputs become a stream of results.

Only light modules are imported here, since ``condgen TASK --help`` reaches this file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from condgen_cli.errors import CondgenError, UsageError
from condgen_cli.files.sources import Failure
from condgen_cli.options import parse_methods, parse_weights
from condgen_cli.registry.plugins import manager
from condgen_cli.specs import look_up
from condgen_cli.tasks.options import DRAWING, TaskOptions, check_method, check_options, check_outputs, complete

if TYPE_CHECKING:
    from condgen_cli.inputs.lines import Text
    from condgen_cli.item import Item
    from condgen_cli.running.decoding import Decoding
    from condgen_cli.running.runner import Result, Runner
    from condgen_cli.specs import TaskSpec

__all__ = ["Session", "load_model"]


def load_model(task: str, options: TaskOptions) -> tuple[Runner, Decoding]:
    """Load a model and its decoding settings, for a command that runs the model itself, as a conversation does.

    Args:
        task: name of the task.
        options: the command's options.
    Raises:
        UsageError: if options contradict one another.
        CondgenError: if the model can't be loaded.
    """
    spec = look_up(manager().tasks, "task", task)
    options = complete(spec, options)
    check_options(spec, options, several=False)
    return _load(spec, options)


class Session:
    """The models of one command, each loaded when the first input needs it.

    Args:
        spec: the task's spec.
        options: complete and checked options.
        live: whether inputs arrive interactively, as from a pipe.
        choose: returns the model's name for an item; None: ``options.model`` is used for all inputs, and loaded at once.
    Raises:
        CondgenError: if the model can't be loaded.
    """

    def __init__(
        self, spec: TaskSpec, options: TaskOptions, live: bool = False, choose: Callable[[Item], str] | None = None
    ) -> None:
        self.spec = spec
        self.options = options
        self._live = live
        self._choose = choose
        self._models: dict[str, tuple[Runner, Decoding]] = {}
        self.model = ""
        """Name of the model of the latest result; empty before the first."""
        if choose is None:
            self._model(options.model)

    def results(self, inputs: Iterable[str | Text | Item | Failure]) -> Iterator[Result]:
        """A result for each part of each input, in order."""
        from condgen_cli.running.runner import read_inputs

        if self._choose is not None:
            return self._run_groups(read_inputs(self.spec.name, inputs))
        runner, decoding = self._model(self.options.model)
        return self._run(read_inputs(self.spec.name, inputs, runner.model.longest), runner, decoding)

    def _run_groups(self, items: Iterable[Item | Failure]) -> Iterator[Result]:
        """Run consecutive inputs with the same model together."""
        from condgen_cli.running.runner import Result

        assert self._choose is not None
        choose = self._choose
        latest: str | None = None

        def model_for(entry: Item | Failure) -> str | None:
            nonlocal latest
            if not isinstance(entry, Failure):
                latest = choose(entry)
            return latest  # a failure needs no model and joins the group before it

        for name, group in groupby(items, model_for):
            if name is None:
                yield from (Result(one.item, one.source, error=one.error) for one in group if isinstance(one, Failure))
            else:
                yield from self._run_group(name, group)

    def _run_group(self, model: str, items: Iterable[Item | Failure]) -> Iterator[Result]:
        try:
            runner, decoding = self._model(model)
        except UsageError:  # an error of the command line, not of these inputs
            raise
        except CondgenError as error:
            reason = error
            return (_fail(one, reason) for one in items)
        return self._run(items, runner, decoding)

    def _model(self, name: str | None) -> tuple[Runner, Decoding]:
        name = name or ""
        if name not in self._models:
            self._models[name] = _load(self.spec, replace(self.options, model=name))
        self.model = self._models[name][0].name
        return self._models[name]

    def _run(self, items: Iterable[Item | Failure], runner: Runner, decoding: Decoding) -> Iterator[Result]:
        from condgen_cli.running.runner import Request

        options = self.options
        request = Request(
            decoding,
            batch_size=options.batch_size,
            force=options.force,
            seed=options.seed,
            conditions=options.show_attention or options.save_attention is not None,
            live=self._live,
            join_parts=False,
            explain=parse_methods(options.explain),
        )
        return runner.stream(items, request)


def _load(spec: TaskSpec, options: TaskOptions) -> tuple[Runner, Decoding]:
    from condgen_cli.running.backends import require_torch
    from condgen_cli.running.runner import describe, load

    if not options.model:
        raise UsageError(f"{spec.name} has no model of its own", "condgen list, then --model NAME")
    weights = parse_weights(options.weight or ())
    name = f"{options.model},heads={options.heads}" if options.heads else options.model
    model = describe(name)
    if model.task != spec.name:
        raise UsageError(f"{options.model} is a model for {model.task}, not for {spec.name}", "condgen list")
    check_method(options, model.decoding.method == "sample")
    backend = require_torch(options.backend, "--explain") if options.explain else options.backend
    runner = load(name, options.device, backend)
    check_outputs(options, ())  # the model's own files are inputs as well
    return runner, _decoding(runner, options, weights)


def _decoding(runner: Runner, options: TaskOptions, weights: dict[str, float]) -> Decoding:
    """The model's default decoding with the user's changes."""
    from condgen_cli.running.decoding import reweight

    default = reweight(runner.decoding, runner.model, weights) if weights else runner.decoding
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


def _fail(entry: Item | Failure, error: CondgenError) -> Result:
    """The result of an input whose model can't be loaded."""
    from condgen_cli.running.runner import Result

    if isinstance(entry, Failure):
        return Result(entry.item, entry.source, error=entry.error)
    return Result(None, entry.source, error=type(error)(f"{entry.source}: {error.message}", error.hint))
