"""The command of a task, made from its spec: the task's own parameters, then the common options that the spec names.

Only light modules are imported here, since ``condgen TASK --help`` reaches this file.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from enum import StrEnum
from inspect import Parameter
from typing import Annotated, Any, get_args, get_type_hints

import typer

from condgen_cli.errors import PluginError
from condgen_cli.inputs.expansion import Inputs, expand
from condgen_cli.inputs.lines import Texts, text_inputs
from condgen_cli.options import Format, InputOpt, TextsArg
from condgen_cli.registry.plugin_problems import DOCTOR
from condgen_cli.specs import TaskSpec, resolve
from condgen_cli.tasks.job import Job, TaskOptions, run_task
from condgen_cli.tasks.signatures import parameters_of, with_parameters

__all__ = ["make_command"]

FilesArg = Annotated[
    list[str],
    typer.Argument(metavar="PATH|GLOB|DIR|URL…", help="Files; a directory stands for all files below it; - for stdin."),
]


def make_command(spec: TaskSpec) -> Callable[..., None]:
    """A function for Typer that runs the task.

    Args:
        spec: the task's spec, without a ``command``.
    Raises:
        PluginError: if ``spec.inputs`` can't be imported.
        TypeError: if one of its parameters has the name of a common option.
    """
    function = resolve(spec.inputs) if spec.inputs else _common_inputs(spec)
    parameters = parameters_of(function)
    taking_options = [one.name for one in parameters if one.annotation is TaskOptions]
    own = [one for one in parameters if one.annotation is not TaskOptions]
    common = _common_parameters(spec)
    for one in own:
        if one.name in spec.option_names:
            raise TypeError(f"the parameter {one.name} is an option that the core adds")

    def command(**arguments: Any) -> None:
        options = TaskOptions.of({one.name: arguments.pop(one.name) for one in common})
        returned = function(**arguments, **dict.fromkeys(taking_options, options))
        raise typer.Exit(_run(spec, returned, options))

    return with_parameters(command, [*own, *common], function.__doc__ or spec.help)


def _run(spec: TaskSpec, returned: Any, options: TaskOptions) -> int:
    job = returned if isinstance(returned, Job) else Job(returned, options)
    if not isinstance(job.inputs, Inputs | Texts):
        wrong = f"{spec.inputs} returns {type(returned).__name__}, not the inputs of the command {spec.name}"
        raise PluginError(wrong, DOCTOR)
    choose = None if job.options.model else job.choose
    return run_task(spec.name, job.inputs, job.options, choose)


def _common_inputs(spec: TaskSpec) -> Callable[..., Inputs | Texts]:
    """The default ``inputs`` function of a task: takes files, or texts."""

    def files(inputs: FilesArg) -> Inputs:
        return expand(inputs, spec.suffixes, spec.kinds)

    def texts(texts: TextsArg = None, input: InputOpt = None) -> Texts:
        return text_inputs(texts or [], input)

    return files if spec.reads_files else texts


def _common_parameters(spec: TaskSpec) -> list[Parameter]:
    hints = get_type_hints(TaskOptions, include_extras=True)
    defaults = {option.name: option.default for option in fields(TaskOptions)} | {"model": spec.model or None}
    annotations: Mapping[str, Any] = {name: _annotation(spec, name, hints[name]) for name in spec.option_names}
    return [
        Parameter(name, Parameter.KEYWORD_ONLY, default=defaults[name], annotation=annotation)
        for name, annotation in annotations.items()
    ]


def _enumeration(name: str, values: Iterable[str]) -> Any:
    members = {value: value for value in values}
    make: Any = StrEnum
    return make(name, members)


def _annotation(spec: TaskSpec, name: str, annotation: Any) -> Any:
    """The annotation of a common option, with the changes of the spec."""
    kind, option = get_args(annotation)
    option = copy.copy(option)
    option.help = spec.option_help.get(name, option.help)
    if name == "format" and spec.formats:
        kind = _enumeration("Format", [*Format, *spec.formats]) | None
    if name == "show_attention" and spec.steps:
        option.param_decls = (*option.param_decls, "--show-process")
    return Annotated[kind, option]
