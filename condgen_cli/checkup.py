"""What is wrong with plugins, found before somebody uses them: by ``condgen plugin doctor``, and by plugins' own tests.

A stranger's plugin is looked at in a process of its own: it may end it, or never return.
"""

from __future__ import annotations

import inspect
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from condgen_cli.entry_points import EntryPoint, discover
from condgen_cli.errors import CondgenError, PluginError
from condgen_cli.guard import guard, told
from condgen_cli.hookspecs import GROUP
from condgen_cli.plugins import DISTRIBUTION, HEAVY, HOOKS, LIGHTER, PREFIX, SLOW, Plugin, Plugins, Problem, place, slow_import
from condgen_cli.specs import (
    CommandSpec,
    DatasetSpec,
    ExperimentSpec,
    InspectorSpec,
    ManifestSpec,
    MatchFunctionSpec,
    MetricSpec,
    ModelSpec,
    RecipeSpec,
    TaskSpec,
    package_file,
    package_text,
    references,
    resolve,
)

__all__ = ["checkup", "plugin_problems"]

PATIENCE = 120.0
"""Seconds that a plugin may take to be looked at."""


def checkup(entries: Iterable[EntryPoint]) -> tuple[Plugins, list[Problem]]:
    """Load plugins, call every hook, and look for whatever is wrong.

    Returns:
        the plugins that can be loaded without ending the process, and all problems.
    """
    sound: list[EntryPoint] = []
    found: list[Problem] = []
    for entry in entries:
        survives, problems = (True, []) if entry.distribution == DISTRIBUTION else _probe(entry)
        found += problems
        if survives:
            sound.append(entry)
    plugins = Plugins(sound)
    plugins.all()
    for plugin in plugins.plugins:
        found += _name_problems(plugin, plugins)
        if plugin.builtin:
            found += _missing_modules(plugin, plugins)
    return plugins, [*plugins.problems, *found]


def plugin_problems(entry: EntryPoint) -> list[Problem]:
    """What is wrong with one plugin, beside all others that are installed; its modules are imported in this process."""
    others = [one for one in discover(GROUP) if one.value != entry.value]
    plugins = Plugins([*others, entry])
    plugins.all()
    plugin = next(one for one in plugins.plugins if one.entry == entry)
    problems = [problem for problem in plugins.problems if plugin.has(problem)]
    return [*problems, *_name_problems(plugin, plugins), *_part_problems(plugin, plugins), *_import_problems(entry)]


# In the process of its own


def _probe(entry: EntryPoint) -> tuple[bool, list[Problem]]:
    """Whether a plugin can be loaded and asked in this process, and what is wrong with its parts."""
    # a fork spares each of them the start of Python; elsewhere than on Linux it isn't safe
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "report")
        process = context.Process(target=_report, args=(entry, path))
        process.start()
        process.join(PATIENCE)
        if process.is_alive():
            process.kill()
            process.join()
            ended = f"had not ended after {PATIENCE:.0f} s"
        elif process.exitcode:
            how = f"signal {-process.exitcode}" if process.exitcode < 0 else f"exit code {process.exitcode}"
            ended = f"ends the process, with {how}"
        else:
            ended = "ends the process"
        written = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    problems = [Problem(*line["problem"]) for line in written if "problem" in line]
    doing = [line["doing"] for line in written if "doing" in line] or ["import"]
    if doing[-1] == "nothing":
        return True, problems
    loads = doing[-1] not in ("import", "hooks")
    what = {"import": "its import", "hooks": "one of its hooks"}.get(doing[-1], doing[-1])
    advice = f"remove it: condgen plugin uninstall {entry.distribution}"
    return loads, [*problems, Problem(entry.name, f"{what} {ended}", advice, "", not loads, entry.distribution)]


def _report(entry: EntryPoint, path: Path) -> None:
    """Look at a plugin, and write what is being done and what was found as lines of JSON."""
    with open(os.devnull, "r+b") as nothing, path.open("w", encoding="utf-8") as file:
        for descriptor in (0, 1, 2):
            os.dup2(nothing.fileno(), descriptor)

        def write(**line: Any) -> None:
            print(json.dumps(line), file=file, flush=True)

        write(doing="import")
        modules = len(sys.modules)
        plugins = Plugins([entry])
        plugin = plugins.plugins[-1]
        for problem in _weight_problems(entry, list(sys.modules)[modules:], _file(plugin)):
            write(problem=problem)
        lasting = [one for one in threading.enumerate() if not one.daemon and one is not threading.current_thread()]
        for thread in lasting:
            message = f"its import leaves a thread running, for which every command waits at its end: {thread.name}"
            write(problem=Problem(entry.name, message, "make it a daemon", _file(plugin), False, entry.distribution))
        write(doing="hooks")
        plugins.all()
        plugins = Plugins([entry, *(one for one in discover(GROUP) if one.distribution == DISTRIBUTION)])
        plugins.all()
        plugin = next(one for one in plugins.plugins if one.entry == entry)
        for problem in _part_problems(plugin, plugins, lambda doing: write(doing=doing)):
            write(problem=problem)
        write(doing="nothing")
        if lasting:
            os._exit(0)


# What a plugin's import costs


def _import_problems(entry: EntryPoint) -> list[Problem]:
    code = (
        "import json, sys, time; started = time.perf_counter(); "
        f"import {entry.value}; print(); print(json.dumps([list(sys.modules), time.perf_counter() - started]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        return []  # that it fails has been found already
    modules, seconds = json.loads(done.stdout.splitlines()[-1])
    problems = _weight_problems(entry, modules, "")
    return [*problems, slow_import(entry, seconds, "")] if seconds > SLOW else problems


def _weight_problems(entry: EntryPoint, modules: Iterable[str], where: str) -> list[Problem]:
    heavy = [name for name in HEAVY if name in modules]
    message = f"importing {entry.value} imports {' and '.join(heavy)}, in every command"
    return [Problem(entry.name, message, LIGHTER, where, False, entry.distribution)] if heavy else []


# Names that nobody registers


def _name_problems(plugin: Plugin, plugins: Plugins) -> Iterator[Problem]:
    """Tasks, metrics and architectures that a plugin's specs name and that no plugin brings."""
    for spec, hook in _specs(plugin, plugins):
        label = _label(spec)
        if isinstance(spec, ModelSpec | DatasetSpec | RecipeSpec | ExperimentSpec) and spec.task not in plugins.tasks:
            yield _problem(plugin, hook, f"{label} is for the task {spec.task!r}, which no plugin brings")
        if isinstance(spec, InspectorSpec) and spec.architecture not in plugins.models:
            yield _problem(plugin, hook, f"{label} is for the architecture {spec.architecture!r}, which no plugin brings")
        for field in ("metrics", "passing"):
            for key in getattr(spec, field, ()):
                if key not in plugins.metrics:
                    yield _problem(plugin, hook, f"{field} of {label}: there is no metric {key!r}")
    if plugin.module and not any(plugin.registered.values()) and not any(map(plugin.has, plugins.problems)):
        yield _problem(plugin, "", f"{plugin.entry.value} registers nothing")


# Parts that a spec names


def _part_problems(plugin: Plugin, plugins: Plugins, doing: Callable[[str], None] = lambda doing: None) -> Iterator[Problem]:
    """What comes out when everything that a plugin's specs name is imported and read."""
    modules: set[str] = {plugin.entry.value}
    for spec, hook in _specs(plugin, plugins):
        label = _label(spec)
        for field, reference in references(spec):
            modules.add(reference.partition(":")[0])
            doing(f"{field} of {label}")
            try:
                fault = _target_fault(spec, field, reference)
            except PluginError as error:
                yield _unresolved(plugin, f"{field} of {label}", reference, error)
                continue
            if fault:
                yield _problem(plugin, hook, f"{field} of {label}: {reference} {fault}")
        doing(label)
        for fault in _file_faults(spec, plugins):
            yield _problem(plugin, hook, f"{label}: {fault}")
    for module in sorted(modules):
        yield from _late_imports(plugin, module)


def _late_imports(plugin: Plugin, module: str) -> Iterator[Problem]:
    """What a module's functions import and what isn't there: it would be missed only as they run."""
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
                    plugin.name, message, f"pip install {package}, or what brings it", where, False, plugin.entry.distribution
                )


def _target_fault(spec: Any, field: str, reference: str) -> str:
    """What is wrong with what a reference names; empty if nothing is.

    Raises:
        PluginError: if it can't be imported.
    """
    target = resolve(reference)
    if not callable(target):
        return "can't be called"
    try:
        with guard():
            if isinstance(spec, TaskSpec | CommandSpec) and field == "command":
                from condgen_cli.commandline import build

                build(spec, target)
                return ""
            given, named = _arguments(spec, field)
            if not _takes(target, given, named):
                return f"can't be called with ({', '.join([*given, *(f'{name}=…' for name in named)])})"
            return _built_fault(spec, target, named)
    except Exception as error:
        return f"fails: {told(error)}"


def _arguments(spec: Any, field: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the core calls a part with: names of positional arguments, and of others."""
    if isinstance(spec, DatasetSpec):
        return ("root", "split"), tuple(spec.options)
    if isinstance(spec, MetricSpec):
        return (), ("tokenize", "language") if getattr(spec, "tokenizers", ()) else ()
    if isinstance(spec, MatchFunctionSpec):
        return ("query_size", "key_size", "hidden_size"), ()
    if isinstance(spec, InspectorSpec):
        return ("runner",), ()
    if isinstance(spec, ModelSpec):
        return (("config", "files") if field == "build" else ("recipe", "data_dir", "run_dir")), ()
    of_a_task = {
        "reader": ("source",),
        "details": ("generation", "item"),
        "formats": ("generations",),
        "files": ("generations",),
        "text": ("generation", "color"),
        "steps": ("generation", "width", "color", "encoding"),
    }
    return of_a_task[field.partition("[")[0]], ()


def _takes(target: Any, given: tuple[str, ...], named: tuple[str, ...]) -> bool:
    try:
        signature = inspect.signature(target)
    except (ValueError, TypeError):  # C code doesn't tell
        return True
    try:
        signature.bind(*given, **dict.fromkeys(named))
    except TypeError:
        return False
    return True


def _built_fault(spec: Any, target: Any, named: tuple[str, ...]) -> str:
    """What is wrong with a metric or a match function as built; nothing else can be built without data."""
    if isinstance(spec, MetricSpec):
        metric = target(**dict.fromkeys(named, ""))
        lacking = [key for key in spec.keys if key not in metric.keys]
        if lacking:
            return f"has no score {' or '.join(map(repr, lacking))}"
        missing = [name for name in ("signature", "statistics", "score") if not hasattr(metric, name)]
        return f"has no {' and no '.join(missing)}" if missing else ""
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
    """What is wrong with the first item of a data set that needs no files."""
    from condgen_cli.data.store import check_options
    from condgen_cli.item import Item

    for item in target(Path(), spec.splits[-1], **check_options(spec, {})):
        return "" if isinstance(item, Item) else f"yields {type(item).__name__}, not condgen_cli.item.Item"
    return f"yields nothing for the split {spec.splits[-1]}"


def _file_faults(spec: Any, plugins: Plugins) -> Iterator[str]:
    """What is wrong with a file that a spec names."""
    checks: dict[type, Callable[[Any, Plugins], Iterator[str]]] = {
        RecipeSpec: _recipe_faults,
        ExperimentSpec: _experiment_faults,
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
            yield told(error)


def _recipe_faults(spec: RecipeSpec, plugins: Plugins) -> Iterator[str]:
    from condgen_cli.training.recipe import parse_recipe

    recipe = parse_recipe(package_text(spec.package, spec.file, "it"), spec.file)
    if recipe.task != spec.task:
        yield f"{spec.file} is for the task {recipe.task!r}, not {spec.task!r}"
    if recipe.model.architecture not in plugins.models:
        yield f"{spec.file} names the architecture {recipe.model.architecture!r}, which no plugin brings"
    if recipe.data.dataset not in plugins.datasets:
        yield f"{spec.file} names the data set {recipe.data.dataset!r}, which no plugin brings"


def _experiment_faults(spec: ExperimentSpec, plugins: Plugins) -> Iterator[str]:
    from condgen_cli.experiments.definition import parse_experiment

    experiment = parse_experiment(package_text(spec.package, spec.file, "it"), spec.file)
    if experiment.evaluate.dataset not in plugins.datasets:
        yield f"{spec.file} names the data set {experiment.evaluate.dataset!r}, which no plugin brings"
    for recipe in sorted(
        {variant.recipe or experiment.recipe or "" for variant in experiment.variants} - plugins.recipes.keys()
    ):
        yield f"{spec.file} names the recipe {recipe!r}, which no plugin brings"
    for key in experiment.evaluate.metrics:
        if key not in plugins.metrics:
            yield f"{spec.file} names the metric {key!r}, which no plugin brings"


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
                yield f"its model {entry.id!r} is for the task {entry.task!r}, which no plugin brings"
            if entry.architecture.name not in plugins.models:
                yield f"its model {entry.id!r} needs the architecture {entry.architecture.name!r}, which no plugin brings"
            for file in entry.all_files:
                here = [one for one in source.places(file) if one.is_file()]
                if not here and not source.urls(file):
                    yield f"{file.path} of its model {entry.id!r} is missing"
                for one in here:
                    if fault := problem_with(one, file):
                        yield f"{file.path} of its model {entry.id!r} is damaged: {fault}"


def _archive_faults(spec: DatasetSpec, plugins: Plugins) -> Iterator[str]:
    from condgen_cli.zoo.names import safe_path

    for archive in spec.archives:
        try:
            safe_path(archive.path)
        except ValueError as error:
            yield f"its archive {archive.path!r}: {error}"
        for name, digest, digits in (("sha256", archive.sha256, 64), ("md5", archive.md5, 32)):
            if digest and not re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", digest):
                yield f"its archive {archive.path!r}: {name} has to be {digits} hexadecimal digits"


def _missing_modules(plugin: Plugin, plugins: Plugins) -> Iterator[Problem]:
    """Of condgen's own plugins only that their modules are there; their own tests import them."""
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


def _unresolved(plugin: Plugin, what: str, reference: str, error: PluginError) -> Problem:
    message = error.message.removeprefix(f"plugin {plugin.name!r}: ")
    advice = f"correct {reference!r} where it is registered, or install what its module needs"
    where = place(error.__cause__, plugin.entry) if error.__cause__ else ""
    return Problem(plugin.name, f"{what}: {message}", advice, where or _file(plugin), False, plugin.entry.distribution)


def _problem(plugin: Plugin, hook: str, message: str) -> Problem:
    code = getattr(getattr(plugin.module, hook, None), "__code__", None) if hook else None
    where = f"{code.co_filename}:{code.co_firstlineno}" if code else _file(plugin)
    return Problem(plugin.name, message, "see docs/plugins.md", where, False, plugin.entry.distribution)


def _file(plugin: Plugin) -> str:
    return getattr(plugin.module, "__file__", None) or ""


def _label(spec: Any) -> str:
    kind = type(spec).__name__.removesuffix("Spec")
    kind = {"MatchFunction": "match function", "Dataset": "data set"}.get(kind, kind.lower())
    return f"{kind} {spec.keys[0] if isinstance(spec, MetricSpec) else spec.name}"


def _specs(plugin: Plugin, plugins: Plugins) -> Iterator[tuple[Any, str]]:
    """A plugin's specs, each once, with the hook that registered it."""
    for hook in HOOKS:
        specs: Mapping[str, Any] = getattr(plugins, hook.removeprefix(PREFIX))
        names = plugin.registered.get(hook, [])
        # a metric is there once for each of its keys
        distinct = {id(specs[name]): specs[name] for name in names}
        yield from ((spec, hook) for spec in distinct.values())
