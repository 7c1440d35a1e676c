"""Checks of a plugin's specs: unregistered names, parts that can't be called, files that can't be read."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from condgen_cli.errors import CondgenError, PluginError
from condgen_cli.registry.guard import describe_error, guard
from condgen_cli.registry.plugin_problems import PREFIX, Plugin, Problem, error_location
from condgen_cli.registry.plugins import HOOKS, Plugins
from condgen_cli.specs import (
    CommandSpec,
    ComparisonSpec,
    DatasetSpec,
    InspectorSpec,
    ManifestSpec,
    MatchFunctionSpec,
    MetricSpec,
    ModelSourceSpec,
    ModelSpec,
    RecipeSpec,
    TaskSpec,
    package_file,
    package_text,
    references,
    resolve,
)

__all__ = ["file_of", "missing_modules", "name_problems", "part_problems"]

# Names that no plugin registers


def name_problems(plugin: Plugin, plugins: Plugins) -> Iterator[Problem]:
    """Problems of names: tasks, metrics and architectures that a plugin's specs name but no plugin registers."""
    for spec, hook in _specs(plugin, plugins):
        label = _label(spec)
        if isinstance(spec, ModelSpec | DatasetSpec | RecipeSpec | ComparisonSpec) and spec.task not in plugins.tasks:
            yield _problem(plugin, hook, f"{label} is for the task {spec.task!r}, which no plugin provides")
        if isinstance(spec, InspectorSpec) and spec.architecture not in plugins.models:
            yield _problem(plugin, hook, f"{label} is for the architecture {spec.architecture!r}, which no plugin provides")
        for field in ("metrics", "passing"):
            for key in getattr(spec, field, ()):
                if key not in plugins.metrics:
                    yield _problem(plugin, hook, f"{field} of {label}: there is no metric {key!r}")
    if plugin.module and not any(plugin.registered.values()) and not any(map(plugin.has, plugins.problems)):
        yield _problem(plugin, "", f"{plugin.entry.value} registers nothing")


# References of specs


def part_problems(plugin: Plugin, plugins: Plugins, doing: Callable[[str], None] = lambda doing: None) -> Iterator[Problem]:
    """Problems of references and files: imports and calls all references of a plugin's specs, and reads their files.

    Args:
        plugin: the plugin.
        plugins: all plugins.
        doing: callback with the name of each part before it is checked.
    """
    modules: set[str] = {plugin.entry.value}
    for spec, hook in _specs(plugin, plugins):
        label = _label(spec)
        for field, reference in references(spec):
            modules.add(reference.partition(":")[0])
            doing(f"{field} of {label}")
            try:
                fault = _target_fault(spec, field, reference)
            except PluginError as error:
                yield _unresolved_problem(plugin, f"{field} of {label}", reference, error)
                continue
            if fault:
                yield _problem(plugin, hook, f"{field} of {label}: {reference} {fault}")
        doing(label)
        for fault in _file_faults(spec, plugins):
            yield _problem(plugin, hook, f"{label}: {fault}")
    for module in sorted(modules):
        yield from _late_imports(plugin, module)


def _late_imports(plugin: Plugin, module: str) -> Iterator[Problem]:
    """Problems of imports inside a module's functions, which would fail only when they run."""
    import ast
    from importlib.util import find_spec

    file = getattr(sys.modules.get(module), "__file__", None)
    if not file or not file.endswith(".py"):
        return
    tree = ast.parse(Path(file).read_bytes())
    attempts = [node for node in ast.walk(tree) if isinstance(node, ast.Try)]
    forgiven = {id(node) for attempt in attempts for part in attempt.body for node in ast.walk(part)}
    for node in ast.walk(tree):
        named = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            named = [node.module]
        for name in named:
            package = name.partition(".")[0]
            if id(node) not in forgiven and package not in sys.modules and find_spec(package) is None:
                message = f"{module} imports {name}, which is not installed"
                where = f"{file}:{node.lineno}"  # type: ignore[attr-defined]
                yield Problem(
                    plugin.name,
                    message,
                    f"pip install {package}, or what contains it",
                    where,
                    False,
                    plugin.entry.distribution,
                )


def _target_fault(spec: Any, field: str, reference: str) -> str:
    """The fault of a reference's target; empty if there is none.

    Raises:
        PluginError: if it can't be imported.
    """
    target = resolve(reference)
    if not callable(target):
        return "can't be called"
    try:
        with guard():
            if isinstance(spec, TaskSpec | CommandSpec) and field == "command":
                from condgen_cli.cli.commandline import build

                build(spec, target)
                return ""
            if isinstance(spec, TaskSpec) and field == "inputs":
                from condgen_cli.cli.commandline import build
                from condgen_cli.tasks.command import make_command

                build(spec, make_command(spec))
                return ""
            given, named = _arguments(spec, field)
            if not _takes(target, given, named):
                return f"can't be called with ({', '.join([*given, *(f'{name}=…' for name in named)])})"
            return _built_fault(spec, target, named)
    except Exception as error:
        return f"fails: {describe_error(error)}"


def _arguments(spec: Any, field: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The arguments that the core calls a part with: names of positional and of keyword arguments."""
    if isinstance(spec, DatasetSpec):
        return ("root", "split"), tuple(spec.options)
    if isinstance(spec, MetricSpec):
        return (), ("tokenize", "language") if getattr(spec, "tokenizers", ()) else ()
    if isinstance(spec, MatchFunctionSpec):
        return ("query_size", "key_size", "hidden_size"), ()
    if isinstance(spec, ModelSourceSpec):
        return (), ()
    if isinstance(spec, InspectorSpec):
        return ("runner",), ()
    if isinstance(spec, ModelSpec):
        return (("config", "files") if field == "build" else ("recipe", "data_dir")), ()
    of_a_task = {
        "reader": ("source",),
        "formats": ("generations",),
        "files": ("generations",),
        "text": ("generation", "color"),
        "steps": ("generation", "width", "color", "encoding"),
    }
    return of_a_task[field.partition("[")[0]], ()


def _takes(target: Any, given: tuple[str, ...], named: tuple[str, ...]) -> bool:
    try:
        signature = inspect.signature(target)
    except (ValueError, TypeError):  # C code has no signature
        return True
    try:
        signature.bind(*given, **dict.fromkeys(named))
    except TypeError:
        return False
    return True


def _built_fault(spec: Any, target: Any, named: tuple[str, ...]) -> str:
    """The fault of a built metric, match function or generated data set; empty if there is none, or it can't be built without
    data."""
    if isinstance(spec, MetricSpec):
        from condgen_cli.metrics import Metric

        metric = target(**dict.fromkeys(named, ""))
        if not isinstance(metric, Metric):
            return "is not derived from condgen_cli.metrics.Metric"
        lacking = [key for key in spec.keys if key not in metric.keys]
        return f"has no score {' or '.join(map(repr, lacking))}" if lacking else ""
    if isinstance(spec, MatchFunctionSpec):
        from condgen_cli.testing import check_match_function

        try:
            check_match_function(target)
        except AssertionError as error:
            return f"breaks the contract: {error}"
    if isinstance(spec, DatasetSpec) and spec.generated:
        return _first_item_fault(spec, target)
    return ""


def _first_item_fault(spec: DatasetSpec, target: Any) -> str:
    """The fault of the first item of a generated data set; empty if there is none."""
    from condgen_cli.data.store import check_options
    from condgen_cli.item import Item

    for item in target(Path(), spec.splits[-1], **check_options(spec, {})):
        return "" if isinstance(item, Item) else f"yields {type(item).__name__}, not condgen_cli.item.Item"
    return f"yields nothing for the split {spec.splits[-1]}"


def _file_faults(spec: Any, plugins: Plugins) -> Iterator[str]:
    """The faults of a spec's files."""
    checks: dict[type, Callable[[Any, Plugins], Iterator[str]]] = {
        RecipeSpec: _recipe_faults,
        ComparisonSpec: _comparison_faults,
        ManifestSpec: _manifest_faults,
        DatasetSpec: _archive_faults,
    }
    check = checks.get(type(spec))
    if check is not None:
        try:
            yield from check(spec, plugins)
        except CondgenError as error:
            yield error.message
        except Exception as error:
            yield describe_error(error)


def _recipe_faults(spec: RecipeSpec, plugins: Plugins) -> Iterator[str]:
    from condgen_cli.training.stages import parse_stages

    recipes = [stage.recipe for stage in parse_stages(package_text(spec.package, spec.file, "it"), spec.file).stages]
    if recipes[0].task != spec.task:
        yield f"{spec.file} is for the task {recipes[0].task!r}, not {spec.task!r}"
    for architecture in sorted({recipe.model.architecture for recipe in recipes} - plugins.models.keys()):
        yield f"{spec.file} names the architecture {architecture!r}, which no plugin provides"
    for dataset in sorted({recipe.data.dataset for recipe in recipes} - plugins.datasets.keys()):
        yield f"{spec.file} names the data set {dataset!r}, which no plugin provides"


def _comparison_faults(spec: ComparisonSpec, plugins: Plugins) -> Iterator[str]:
    from condgen_cli.comparisons.definition import parse_comparison

    comparison = parse_comparison(package_text(spec.package, spec.file, "it"), spec.file)
    if comparison.evaluate.dataset not in plugins.datasets:
        yield f"{spec.file} names the data set {comparison.evaluate.dataset!r}, which no plugin provides"
    for recipe in sorted(
        {variant.recipe or comparison.recipe or "" for variant in comparison.variants} - plugins.recipes.keys()
    ):
        yield f"{spec.file} names the recipe {recipe!r}, which no plugin provides"
    for key in comparison.evaluate.metrics:
        if key not in plugins.metrics:
            yield f"{spec.file} names the metric {key!r}, which no plugin provides"


def _manifest_faults(spec: ManifestSpec, plugins: Plugins) -> Iterator[str]:
    from importlib.resources import as_file

    from condgen_cli.zoo.sources import local_source
    from condgen_cli.zoo.store import problem_with

    if spec.url:
        return  # the doctor uses no network
    with as_file(package_file(spec.package, spec.file)) as path:
        source = local_source(path, spec.name, "plugin")
        for entry in source.manifest.entries:
            if entry.task not in plugins.tasks:
                yield f"its model {entry.id!r} is for the task {entry.task!r}, which no plugin provides"
            if entry.architecture.name not in plugins.models:
                yield f"its model {entry.id!r} needs the architecture {entry.architecture.name!r}, which no plugin provides"
            for file in entry.all_files:
                here = [one for one in source.places(file) if one.is_file()]
                if not here and not source.urls(file):
                    yield f"{file.path} of its model {entry.id!r} is missing"
                for one in here:
                    if fault := problem_with(one, file):
                        yield f"{file.path} of its model {entry.id!r} is damaged: {fault}"


def _archive_faults(spec: DatasetSpec, plugins: Plugins) -> Iterator[str]:
    from condgen_cli.files.names import safe_path

    for archive in spec.archives:
        try:
            safe_path(archive.path)
        except ValueError as error:
            yield f"its archive {archive.path!r}: {error}"
        for name, digest, digits in (("sha256", archive.sha256, 64), ("md5", archive.md5, 32)):
            if digest and not re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", digest):
                yield f"its archive {archive.path!r}: {name} has to be {digits} hexadecimal digits"


def missing_modules(plugin: Plugin, plugins: Plugins) -> Iterator[Problem]:
    """Problems of missing modules: the only check of condgen's own plugins, which have tests of their own."""
    from importlib.machinery import PathFinder
    from importlib.util import find_spec

    for spec, hook in _specs(plugin, plugins):
        for field, reference in references(spec):
            name, *rest = reference.partition(":")[0].split(".")
            found = find_spec(name)
            for part in rest:
                name = f"{name}.{part}"
                found = found and PathFinder.find_spec(name, found.submodule_search_locations)
            if not found:
                yield _problem(plugin, hook, f"{field} of {_label(spec)}: there is no module {name}")


def _unresolved_problem(plugin: Plugin, what: str, reference: str, error: PluginError) -> Problem:
    message = error.message.removeprefix(f"plugin {plugin.name!r}: ")
    advice = f"correct {reference!r} where it is registered, or install what its module needs"
    where = error_location(error.__cause__, plugin.entry) if error.__cause__ else ""
    return Problem(plugin.name, f"{what}: {message}", advice, where or file_of(plugin), False, plugin.entry.distribution)


def _problem(plugin: Plugin, hook: str, message: str) -> Problem:
    code = getattr(getattr(plugin.module, hook, None), "__code__", None) if hook else None
    where = f"{code.co_filename}:{code.co_firstlineno}" if code else file_of(plugin)
    return Problem(plugin.name, message, "see docs/plugins.md", where, False, plugin.entry.distribution)


def file_of(plugin: Plugin) -> str:
    """Path of a plugin's module; empty if it could not be imported."""
    return getattr(plugin.module, "__file__", None) or ""


def _label(spec: Any) -> str:
    kind = type(spec).__name__.removesuffix("Spec")
    kind = {"MatchFunction": "match function", "Dataset": "data set"}.get(kind, kind.lower())
    return f"{kind} {spec.keys[0] if isinstance(spec, MetricSpec) else spec.name}"


def _specs(plugin: Plugin, plugins: Plugins) -> Iterator[tuple[Any, str]]:
    """A plugin's specs, each once, with the hook that registered them."""
    for hook in HOOKS:
        specs: Mapping[str, Any] = getattr(plugins, hook.removeprefix(PREFIX))
        names = plugin.registered.get(hook, [])
        # a metric is registered once for each of its keys
        distinct = {id(specs[name]): specs[name] for name in names}
        yield from ((spec, hook) for spec in distinct.values())
