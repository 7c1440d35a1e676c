"""The specs that plugins register. Heavy parts are ``"module:attribute"`` references, imported by ``resolve`` when first used.

Every help page imports this module: specs are named tuples because these load in half the time of frozen dataclasses.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from condgen_cli.errors import NotFoundError, PluginError
from condgen_cli.registry.guard import describe_error, guard
from condgen_cli.terminal.suggestions import suggestion

__all__ = [
    "OPTION_GROUPS",
    "Archive",
    "CommandSpec",
    "ComparisonSpec",
    "DatasetSpec",
    "InspectorSpec",
    "ManifestSpec",
    "MatchFunctionSpec",
    "MetricSpec",
    "ModelSourceSpec",
    "ModelSpec",
    "Option",
    "RecipeSpec",
    "TaskSpec",
    "look_up",
    "package_file",
    "package_text",
    "references",
    "resolve",
]


def resolve(reference: str) -> Any:
    """Import the object that ``"package.module:attribute"`` refers to.

    Raises:
        PluginError: if the module can't be imported or lacks the attribute; the message names the plugin.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise PluginError(f"{reference!r} is not of the form module:attribute")
    try:
        with guard():
            module = importlib.import_module(module_name)
    except Exception as error:
        raise _unusable(module_name, f"cannot import {module_name}: {describe_error(error)}") from error
    try:
        with guard():
            value: Any = module
            for part in attribute.split("."):
                value = getattr(value, part)
    except Exception as error:
        reason = "" if isinstance(error, AttributeError) else f": {describe_error(error)}"
        raise _unusable(module_name, f"{module_name} has no {attribute}{reason}") from error
    return value


def package_file(package: str, file: str) -> Any:
    """A file of a plugin's package, as an ``importlib.resources`` path; it need not exist.

    Raises:
        PluginError: if the package can't be imported or is no package; the message names the plugin.
    """
    from importlib.resources import files

    try:
        with guard():
            return files(package).joinpath(file)
    except Exception as error:
        raise _unusable(package, f"cannot open the package {package}: {describe_error(error)}") from error


def package_text(package: str, file: str, what: str) -> str:
    """The text of a file of a plugin's package.

    Args:
        what: the file's role, for messages.
    Raises:
        PluginError: if it can't be read; the message names the plugin.
    """
    found = package_file(package, file)
    try:
        text: str = found.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise _unusable(package, f"cannot read {what}: {package} holds no {file}") from None
    except (OSError, ValueError) as error:
        raise _unusable(package, f"cannot read {what}, {file} of {package}: {describe_error(error)}") from None
    return text


def references(spec: Any) -> Iterator[tuple[str, str]]:
    """The ``module:attribute`` references of a spec: pairs of the field's name and the reference."""
    for attribute in _REFERENCES.get(type(spec), ()):
        value = getattr(spec, attribute)
        if isinstance(value, Mapping):
            yield from ((f"{attribute}[{name!r}]", reference) for name, reference in value.items())
        elif value:
            yield attribute, value


def _unusable(module: str, message: str) -> PluginError:
    from condgen_cli.registry.plugin_problems import DOCTOR
    from condgen_cli.registry.plugins import plugin_of_module

    plugin = plugin_of_module(module)
    return PluginError(f"plugin {plugin.name!r}: {message}" if plugin else message, DOCTOR)


OPTION_GROUPS: dict[str, tuple[str, ...]] = {
    "search": ("beam", "nbest", "length_penalty", "no_repeat_ngram", "max_length"),
    "scorers": ("weight",),
    "sampling": ("sample", "temperature", "top_k", "top_p", "seed"),
    "force": ("force",),
    "attention": ("show_attention", "save_attention", "heads", "explain"),
}
"""Groups of options that a task's command may have, besides those of all tasks: ``--model``, ``--output``, ``--format``,
``--device`` and ``--batch-size``."""


class TaskSpec(NamedTuple):
    """A task and its command.

    Args:
        name: name of the task and of its command.
        help: one line.
        command: a Typer function that is the whole command, replacing the one that the core makes from ``inputs``, ``model``,
            ``options`` and ``option_help``. Plugins for API version 1 always use this.
        reader: ``(source: str) -> Iterator[Item]``: reads the items of one path, URL or text of the command line. For a model
            with ``longest`` it is called with the keyword ``longest``, the length at which to cut.
        metrics: keys of the default metrics of ``eval``.
        suffixes: suffixes of input files that no value of ``kinds`` covers, lower case and with the dot.
        details: names of further members of an output in JSON. The model puts a list for each name into ``Generation.details``;
            the lists of an input's parts are concatenated.
        formats: further values of ``--format`` by name: ``(Iterable[Generation]) -> Iterator[str]`` makes the text of the file
            for one input from its parts, which arrive as they are done.
        files: file formats for the outputs of all inputs together, by the suffix of ``-o``, such as ``.png``:
            ``(Sequence[Sequence[Generation]]) -> bytes``, called with the generations of each input that has any.
        text: ``(Generation, color: bool) -> str`` formats an output as text; empty: the output is printed as it is.
        steps: ``(Generation, width: int, color: bool, encoding: str) -> str`` formats the generation steps of an output without
            attention, for ``--show-attention`` (with this field also ``--show-process``). If it is empty or returns nothing, a
            warning says that there is no attention.
        kinds: kinds of content of the input files: ``photo``, ``clip``, ``sound``, or ``text`` (lines of a file, with
            ``--input``). Commands that are given a file of the wrong kind suggest the tasks for its kind. A task without
            ``suffixes`` and without any of the first three kinds takes texts as arguments.
        inputs: a function of the command's own parameters, declared for Typer, that returns the inputs:
            ``condgen_cli.inputs.lines.Texts``, ``condgen_cli.inputs.expansion.Inputs``, or a ``condgen_cli.tasks.job.Job``,
            which may also change the options. A parameter annotated with ``condgen_cli.tasks.job.TaskOptions`` gets the values
            of the common options. The docstring is the text of the help page. Empty: the command takes files or texts, see
            ``kinds``.
        model: default of ``--model``; empty: none, and the job names or chooses a model.
        options: names of option groups (``OPTION_GROUPS``) or of single options, in the order of the help page.
        option_help: help texts that replace those of common options, such as ``model``.
    """

    name: str
    help: str
    command: str = ""
    reader: str = ""
    metrics: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    formats: Mapping[str, str] = {}
    files: Mapping[str, str] = {}
    text: str = ""
    steps: str = ""
    kinds: tuple[str, ...] = ()
    inputs: str = ""
    model: str = ""
    options: tuple[str, ...] = ()
    option_help: Mapping[str, str] = {}

    @property
    def reads_files(self) -> bool:
        """Whether the command's arguments are paths rather than texts."""
        return bool(self.suffixes) or any(kind != "text" for kind in self.kinds)

    @property
    def option_names(self) -> tuple[str, ...]:
        """The common options of the command, groups resolved, in the order of the help page."""
        own = [name for group in self.options for name in OPTION_GROUPS.get(group, (group,))]
        return tuple(dict.fromkeys(["model", *own, "output", "format", "device", "backend", "batch_size"]))


class ModelSpec(NamedTuple):
    """A model architecture.

    Args:
        name: the name used in manifests and recipes.
        task: name of its task.
        build: ``(config: Mapping, files: Mapping[str, Path]) -> condgen_cli.model.Model``; ``files`` are the model's files,
            such as vocabularies, by their names in the manifest. The core loads the weights afterwards.
        experiment: a subclass of ``condgen_cli.training.Experiment``; empty: the architecture can't be trained.
        help: one line.
        own_data: settings of its recipes that apply only to the recipe's own data set, besides ``data.options`` and
            ``data.more``: groups of key paths, such as ``(("data.text", "data.text_parts"),)``. If the user chooses another
            data set, a group is dropped unless the user sets its first key.
        graphs: ``(config: Mapping, files: Mapping[str, Path], graphs: condgen_cli.running.backends.onnx.Graphs) ->
            condgen_cli.contract.Contract``: the model as ONNX Runtime computes it, in a module that imports no torch. Empty:
            the model runs in torch only.
        loads_weights: whether ``build`` loads the weights itself; else the core does, which expects the model's own names.
    """

    name: str
    task: str
    build: str
    experiment: str = ""
    help: str = ""
    own_data: tuple[tuple[str, ...], ...] = ()
    graphs: str = ""
    loads_weights: bool = False


class ModelSourceSpec(NamedTuple):
    """A source of models from elsewhere, which are named ``NAME:MODEL``, such as ``hf:ORG/MODEL``, or by a local folder.

    Args:
        name: the scheme of its models' names, before the colon.
        open: ``() -> condgen_cli.zoo.elsewhere.ModelSource``.
        marker: name of the file by which a folder is recognised as one of its models; empty: it has no local folders.
        help: one line.
    """

    name: str
    open: str
    marker: str = ""
    help: str = ""


class Option(NamedTuple):
    """An option of a data set, given as ``--set NAME=VALUE``.

    Args:
        help: one line.
        default: default value; empty: none.
        choices: allowed values; empty: any.
        scores: whether it changes scores. Published scores are shown whatever the value of an option that doesn't, such as how
            items are grouped.
    """

    help: str
    default: str = ""
    choices: tuple[str, ...] = ()
    scores: bool = True


class Archive(NamedTuple):
    """A published file of a data set, which ``data pull`` fetches.

    Args:
        path: path below the data set's folder.
        urls: addresses that it can be fetched from.
        sha256, md5, size: hashes in hexadecimal and size in bytes, as published; empty or 0 if not published.
        sets: subsets (``--set subset=``) that need it; empty: all.
    """

    path: str
    urls: tuple[str, ...]
    sha256: str = ""
    md5: str = ""
    size: int = 0
    sets: tuple[str, ...] = ()


class DatasetSpec(NamedTuple):
    """A data set.

    Args:
        name: the name used in ``--dataset NAME``.
        task: name of the task whose items it holds.
        help: one line.
        open: ``(root: Path, split: str, **options: str) -> Iterable[Item]``; reads lazily. ``root`` is the folder of
            ``--data-dir`` (in the publisher's layout), or the one that ``data pull`` filled.
        splits: names of the splits; the last is the default of ``eval``.
        options: the data set's options by name.
        licence: licence of the data.
        homepage: URL of its publication.
        archives: files that ``data pull`` fetches; empty: users must supply the data.
        passing: largest scores with which a group of items passes, by metric: ``{"error": 5.0}``, for metrics where lower is
            better. ``eval`` marks and counts the groups that fail.
        generated: whether items are generated when the data set is opened; ``root`` is then the working directory.
        metrics: keys of its default metrics in ``eval``; empty: the task's.
        language: language code of the references, such as ``zh``, or a function of the data set's options that returns it;
            empty: unknown. It decides how metrics tokenize.
    """

    name: str
    task: str
    help: str
    open: str
    splits: tuple[str, ...] = ("train", "dev", "test")
    options: Mapping[str, Option] = {}
    licence: str = "unknown"
    homepage: str = ""
    archives: tuple[Archive, ...] = ()
    passing: Mapping[str, float] = {}
    generated: bool = False
    metrics: tuple[str, ...] = ()
    language: str | Callable[[Mapping[str, str]], str] = ""


class MetricSpec(NamedTuple):
    """A metric, or several that are computed from the same statistics.

    Args:
        keys: keys of its scores in JSON, such as ``("bleu1", "bleu2", "bleu3", "bleu4")``.
        build: ``() -> condgen_cli.metrics.Metric``.
        help: one line.
        text: whether it compares lines of text, so that ``condgen score`` offers it.
        tokenizers: values of ``--tokenize`` that it supports. If there are any, ``build`` is ``(tokenize: str, language: str)
            -> Metric``, called with one of them or an empty string, and with the references' language code or an empty string.
    """

    keys: tuple[str, ...]
    build: str
    help: str = ""
    text: bool = True
    tokenizers: tuple[str, ...] = ()


class MatchFunctionSpec(NamedTuple):
    """A match function: ``build`` is ``(query_size: int, key_size: int, hidden_size: int) -> condgen_cli.nn.MatchFunction``."""

    name: str
    build: str
    help: str = ""


class RecipeSpec(NamedTuple):
    """A recipe that ships with a plugin, in the file ``file`` of ``package``.

    Lists of recipes show the ``description`` in the file, or ``help`` if it has none.
    """

    name: str
    task: str
    package: str
    file: str
    help: str = ""


class ComparisonSpec(NamedTuple):
    """A comparison that ships with a plugin, for ``condgen comparison``: ``package`` and the file's name in it."""

    name: str
    task: str
    package: str
    file: str
    help: str = ""


class InspectorSpec(NamedTuple):
    """An analysis of a model that needs no input: ``condgen inspect MODEL --NAME``.

    Args:
        name: name of the flag.
        architecture: name of the architecture that it can analyse.
        run: ``(condgen_cli.running.runner.Runner) -> condgen_cli.generation.Generation``; the ``output`` is printed and the
            attention maps are drawn.
        help: one line.
    """

    name: str
    architecture: str
    run: str
    help: str = ""


class ManifestSpec(NamedTuple):
    """A model zoo of a plugin: a manifest in the file ``file`` of ``package``, or at ``url``."""

    name: str
    package: str = ""
    file: str = "manifest.json"
    url: str = ""


class CommandSpec(NamedTuple):
    """A further top-level command: a Typer function, or a ``typer.Typer`` for a group."""

    name: str
    help: str
    command: str


_REFERENCES: dict[type, tuple[str, ...]] = {
    TaskSpec: ("command", "inputs", "reader", "formats", "files", "text", "steps"),
    ModelSpec: ("build", "experiment"),
    DatasetSpec: ("open",),
    MetricSpec: ("build",),
    MatchFunctionSpec: ("build",),
    InspectorSpec: ("run",),
    ModelSourceSpec: ("open",),
    CommandSpec: ("command",),
}


def look_up(specs: Mapping[str, Any], kind: str, name: str) -> Any:
    """``specs[name]``.

    Raises:
        NotFoundError: if there is none; the hint suggests similar names.
    """
    if name in specs:
        return specs[name]
    raise NotFoundError(f"no {kind} named {name!r}", suggestion(name, sorted(specs)))
