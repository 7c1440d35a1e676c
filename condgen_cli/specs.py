"""What plugins register. Heavy parts are ``"module:attribute"`` strings, resolved by ``resolve`` when first used.

Every help page loads this module: specs are named tuples, which are made in half the time of frozen dataclasses.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from condgen_cli.errors import NotFoundError, PluginError
from condgen_cli.registry.guard import guard, told
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
    "ModelSpec",
    "Option",
    "RecipeSpec",
    "TaskSpec",
    "named",
    "package_file",
    "package_text",
    "references",
    "resolve",
]


def resolve(reference: str) -> Any:
    """Import what ``"package.module:attribute"`` names.

    Raises:
        PluginError: if the module can't be imported or lacks the attribute; it names the plugin.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise PluginError(f"{reference!r} is not of the form module:attribute")
    try:
        with guard():
            module = importlib.import_module(module_name)
    except Exception as error:
        raise _unusable(module_name, f"cannot import {module_name}: {told(error)}") from error
    try:
        with guard():
            value: Any = module
            for part in attribute.split("."):
                value = getattr(value, part)
    except Exception as error:
        reason = "" if isinstance(error, AttributeError) else f": {told(error)}"
        raise _unusable(module_name, f"{module_name} has no {attribute}{reason}") from error
    return value


def package_file(package: str, file: str) -> Any:
    """A file that a plugin brings, as ``importlib.resources`` finds it; it need not be there.

    Raises:
        PluginError: if the package can't be imported, or is a module, which holds no files; it names the plugin.
    """
    from importlib.resources import files

    try:
        with guard():
            return files(package).joinpath(file)
    except Exception as error:
        raise _unusable(package, f"cannot look into {package}: {told(error)}") from error


def package_text(package: str, file: str, what: str) -> str:
    """The text of a file that a plugin brings.

    Args:
        what: it is, for messages.
    Raises:
        PluginError: if it can't be read; it names the plugin.
    """
    found = package_file(package, file)
    try:
        text: str = found.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise _unusable(package, f"cannot read {what}: {package} holds no {file}") from None
    except (OSError, ValueError) as error:
        raise _unusable(package, f"cannot read {what}, {file} of {package}: {told(error)}") from None
    return text


def references(spec: Any) -> Iterator[tuple[str, str]]:
    """What a spec names as ``module:attribute``: pairs of where it stands in the spec, and the reference."""
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
    "attention": ("show_attention", "save_attention"),
}
"""Groups of options that a task's command may have, beside those of all tasks: ``--model``, ``--output``, ``--format``,
``--device`` and ``--batch-size``."""


class TaskSpec(NamedTuple):
    """A task, and what the core makes its command of.

    Args:
        name: also the command's name.
        help: one line.
        command: a function for Typer that is the whole command, in place of the one that the core makes of the last four
            fields. Plugins written for API version 1 have no other.
        reader: ``(source: str) -> Iterator[Item]``: what one path, URL or text of the command line holds.
        metrics: keys of the metrics that ``eval`` prints by default.
        suffixes: of files that it reads and whose content ``kinds`` has no name for, lower case and with the dot.
        details: names of further members of an output in JSON. The model puts them into ``Generation.details``: a list for each
            name; the lists of an input's parts follow one another.
        formats: further values of the command's ``--format``, by name: ``(Iterable[Generation]) -> Iterator[str]``, the text of
            a file for one input; the input's parts come as they are done.
        files: formats that hold the outputs of all inputs, by the suffix of ``-o``, such as ``.png``:
            ``(Sequence[Sequence[Generation]]) -> bytes``, the generations of each input that has some.
        text: how an output is printed as text, ``(Generation, color: bool) -> str``; empty: as it is.
        steps: what ``--show-attention``, which is then ``--show-process`` too, prints of an output without attention,
            ``(Generation, width: int, color: bool, encoding: str) -> str``; where it is empty or returns nothing, a warning
            says that there is no attention.
        kinds: what the files hold that it reads, by their content: ``photo``, ``clip``, ``sound``; ``text``: their lines, with
            ``--input``. Where another command is given such a file, its error names this one. A task without ``suffixes`` and
            without any of the first three takes texts as arguments.
        inputs: a function of the command's own parameters, as Typer takes them, that returns its inputs:
            ``condgen_cli.inputs.lines.Texts``, ``condgen_cli.inputs.expansion.Inputs``, or a ``condgen_cli.tasks.job.Job``,
            which may change the options as well. A parameter annotated with ``condgen_cli.tasks.job.TaskOptions`` gets the
            values of the common options. The docstring is the text of the help page. Empty: the command takes files or texts,
            see ``kinds``.
        model: default of ``--model``; empty: there is none, and the job names or chooses a model.
        options: names of groups of options (``OPTION_GROUPS``), or of single options, in the order of the help page.
        option_help: help texts of common options, such as ``model``, that take the place of the usual ones.
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
        """Whether its arguments are paths, not texts."""
        return bool(self.suffixes) or any(kind != "text" for kind in self.kinds)

    @property
    def option_names(self) -> tuple[str, ...]:
        """The command's options beside those that only it has, groups resolved, in the order of the help page."""
        own = [name for group in self.options for name in OPTION_GROUPS.get(group, (group,))]
        return tuple(dict.fromkeys(["model", *own, "output", "format", "device", "batch_size"]))


class ModelSpec(NamedTuple):
    """An architecture.

    Args:
        name: what manifests and recipes call it.
        task: name of its task.
        build: ``(config: Mapping, files: Mapping[str, Path]) -> condgen_cli.model.Model``; ``files`` hold vocabularies and
            the like by their names in the manifest entry. The core loads the weights afterwards.
        experiment: a subclass of ``condgen_cli.training.Experiment``; empty if it can't be trained.
        help: one line.
        own_data: settings of a recipe that fit its own data set alone, beside ``data.options`` and ``data.more``: groups of
            key paths, such as ``(("data.text", "data.text_parts"),)``. Where another data set is named, a group is left out
            unless the user gives its first.
    """

    name: str
    task: str
    build: str
    experiment: str = ""
    help: str = ""
    own_data: tuple[tuple[str, ...], ...] = ()


class Option(NamedTuple):
    """A setting that a data set declares, given as ``--set NAME=VALUE``.

    Args:
        help: one line.
        default: the value where none is given; empty: none.
        choices: the values that it may have; empty: any.
        scores: False if it changes no score, such as how items are grouped: what others report holds whatever it is.
    """

    help: str
    default: str = ""
    choices: tuple[str, ...] = ()
    scores: bool = True


class Archive(NamedTuple):
    """A published file of a data set: ``data pull`` fetches it from one of ``urls``.

    Args:
        path: where it lies below the data set's folder.
        sha256, md5, size: as published; empty or 0 where the publisher gives none.
        sets: the subsets (``--set subset=``) it belongs to; empty: always wanted.
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
        name: as in ``--dataset NAME``.
        task: name of the task whose items it holds.
        help: one line.
        open: ``(root: Path, split: str, **options: str) -> Iterable[Item]``; reads lazily. ``root`` is the folder that the
            user names with ``--data-dir`` (the publisher's layout), or where ``data pull`` put it.
        splits: names in order; the last is what ``eval`` takes by default.
        options: by name.
        licence: of the data.
        homepage: where it is published.
        archives: what ``data pull`` fetches; empty: the user must bring it.
        passing: scores beyond which a group of it has failed, by metric: ``{"error": 5.0}``. ``eval`` marks such groups and
            counts them. Metrics of errors, for which more is worse.
        generated: it is made when it is opened, and has no folder: ``root`` is the working directory's.
        metrics: keys of the metrics that ``eval`` prints for it; default: the task's.
        language: code of the references' language, such as ``zh``, or what tells it by the data set's options; empty: unknown.
            Metrics cut texts into words by it.
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
    """A metric, or a family that shares its statistics.

    Args:
        keys: such as ``("bleu1", "bleu2", "bleu3", "bleu4")``, as in JSON.
        build: ``() -> condgen_cli.metrics.Metric``.
        help: one line.
        text: True if it compares lines of text, so that ``condgen score`` offers it.
        tokenizers: what ``--tokenize`` may name for it. If it has some, ``build`` is ``(tokenize: str, language: str) ->
            Metric``: one of them or nothing, and the code of the references' language or nothing.
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
    """A recipe that ships with a plugin: ``package`` and the file's name in it.

    Its ``description`` there is what lists of recipes say of it; ``help`` only if it has none.
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
    """A look inside models that needs no input: ``condgen inspect MODEL --NAME``.

    Args:
        name: of the flag.
        architecture: name of the models' that it can look inside.
        run: ``(condgen_cli.running.runner.Runner) -> condgen_cli.generation.Generation``; its ``output`` is printed, its
            attention maps are drawn.
        help: one line.
    """

    name: str
    architecture: str
    run: str
    help: str = ""


class ManifestSpec(NamedTuple):
    """A zoo that a plugin brings: the manifest's file inside ``package``, or a URL."""

    name: str
    package: str = ""
    file: str = "manifest.json"
    url: str = ""


class CommandSpec(NamedTuple):
    """A further top-level command: a function for Typer, or a ``typer.Typer`` for a group."""

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
    CommandSpec: ("command",),
}


def named(specs: Mapping[str, Any], kind: str, name: str) -> Any:
    """``specs[name]``, or a NotFoundError that offers the nearest names."""
    if name in specs:
        return specs[name]
    raise NotFoundError(f"no {kind} named {name!r}", suggestion(name, sorted(specs)))
