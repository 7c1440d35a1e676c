"""Finding plugins, and keeping a broken one from harming the rest.

Each plugin is imported, checked and asked inside its own guard. What goes wrong becomes a ``Problem``: one warning,
explained by ``condgen plugin doctor``. Hooks are called when somebody needs what they register, and never before.
"""

from __future__ import annotations

import importlib
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import cache, cached_property
from types import ModuleType
from typing import Any, NamedTuple, get_type_hints

import pluggy

from condgen_cli import __version__, builtin, console, hookspecs, settings
from condgen_cli.commands import CORE
from condgen_cli.entry_points import EntryPoint, discover
from condgen_cli.errors import PluginError
from condgen_cli.hookspecs import API_VERSION, GROUP
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
)

__all__ = ["HOOKS", "Plugin", "Plugins", "Problem", "manager", "spec_names"]

PREFIX = "condgen_register_"
DISTRIBUTION = "condgen"
DOCTOR = "condgen plugin doctor"

HOOKS: dict[str, type] = {
    "condgen_register_tasks": TaskSpec,
    "condgen_register_models": ModelSpec,
    "condgen_register_datasets": DatasetSpec,
    "condgen_register_metrics": MetricSpec,
    "condgen_register_match_functions": MatchFunctionSpec,
    "condgen_register_recipes": RecipeSpec,
    "condgen_register_experiments": ExperimentSpec,
    "condgen_register_inspectors": InspectorSpec,
    "condgen_register_manifests": ManifestSpec,
    "condgen_register_commands": CommandSpec,
}
"""What each hook returns a list of."""


class Problem(NamedTuple):
    """What is wrong with a plugin.

    Args:
        plugin: its entry point's name.
        message: one line.
        advice: what its author or user can do.
        location: ``file:line`` where known.
        fatal: True if none of the plugin can be used.
    """

    plugin: str
    message: str
    advice: str
    location: str = ""
    fatal: bool = False


@dataclass
class Plugin:
    """A plugin as found.

    Args:
        entry: its entry point.
        module: None if it could not be loaded.
        registered: hook's name to the names that it registered, filled as hooks are called.
    """

    entry: EntryPoint
    module: ModuleType | None = None
    registered: dict[str, list[str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def builtin(self) -> bool:
        return self.entry.distribution == DISTRIBUTION

    @property
    def api(self) -> str | None:
        """The API version that it was written for, if it says so."""
        version = getattr(self.module, "CONDGEN_API", None)
        return None if version is None else str(version)


class Plugins:
    """Everything that plugins register, by name. Each mapping is made on first use.

    Args:
        entries: the plugins to load; those of condgen itself come first, so that their names win.
        report: called with every problem as it is found.
    """

    def __init__(self, entries: Iterable[EntryPoint], report: Callable[[Problem], None] = lambda problem: None) -> None:
        self._report = report
        self._hooks = pluggy.PluginManager(GROUP)
        self._hooks.add_hookspecs(hookspecs)
        self.problems: list[Problem] = []
        self.plugins: list[Plugin] = []
        self._usable: list[Plugin] = []
        core = EntryPoint("core", builtin.__name__, DISTRIBUTION, __version__)
        for entry in [core, *sorted(entries, key=lambda entry: entry.distribution != DISTRIBUTION)]:
            self._load(Plugin(entry))

    @cached_property
    def tasks(self) -> Mapping[str, TaskSpec]:
        return self._collect("condgen_register_tasks", reserved=CORE)

    @cached_property
    def models(self) -> Mapping[str, ModelSpec]:
        return self._collect("condgen_register_models")

    @cached_property
    def datasets(self) -> Mapping[str, DatasetSpec]:
        return self._collect("condgen_register_datasets")

    @cached_property
    def metrics(self) -> Mapping[str, MetricSpec]:
        """By each of a metric's keys."""
        return self._collect("condgen_register_metrics")

    @cached_property
    def match_functions(self) -> Mapping[str, MatchFunctionSpec]:
        return self._collect("condgen_register_match_functions")

    @cached_property
    def recipes(self) -> Mapping[str, RecipeSpec]:
        return self._collect("condgen_register_recipes")

    @cached_property
    def experiments(self) -> Mapping[str, ExperimentSpec]:
        return self._collect("condgen_register_experiments")

    @cached_property
    def inspectors(self) -> Mapping[str, InspectorSpec]:
        return self._collect("condgen_register_inspectors")

    @cached_property
    def manifests(self) -> Mapping[str, ManifestSpec]:
        return self._collect("condgen_register_manifests")

    @cached_property
    def commands(self) -> Mapping[str, CommandSpec]:
        return self._collect("condgen_register_commands", reserved=[*CORE, *self.tasks])

    def all(self) -> dict[str, Mapping[str, Any]]:
        """Every mapping, by what it holds: all hooks are called."""
        return {hook.removeprefix(PREFIX): getattr(self, hook.removeprefix(PREFIX)) for hook in HOOKS}

    def broken(self, name: str) -> PluginError | None:
        """Why nothing of the plugin ``name`` can be used; None if it can, or if there is no such plugin."""
        for problem in self.problems:
            if problem.plugin == name:
                return PluginError(f"plugin {name!r} can't be used: {problem.message}", DOCTOR)
        return None

    def _load(self, plugin: Plugin) -> None:
        self.plugins.append(plugin)
        module = self._guard(plugin, "import", lambda: _import(plugin.entry.value), fatal=True)
        if module is None:
            return
        plugin.module = module
        if problem := _contract_problem(plugin.name, module):
            self._add(problem)
            return
        try:
            self._hooks.register(module, f"{plugin.entry.distribution}:{plugin.name}")
            self._usable.append(plugin)
        except pluggy.PluginValidationError as error:
            self._add(_wrong_signature(plugin.name, error))
        except ValueError:
            advice = f"let one entry point alone name {module.__name__}"
            self._add(Problem(plugin.name, f"{module.__name__} is a plugin already", advice, fatal=True))

    def _collect(self, hook: str, reserved: Iterable[str] = ()) -> dict[str, Any]:
        """What all plugins register with a hook, by name; the first plugin that takes a name keeps it."""
        found: dict[str, Any] = {}
        taken = set(reserved)
        for plugin in self._usable:
            plugin.registered[hook] = []
            for spec in self._call(plugin, hook):
                for name in spec_names(spec):
                    if name in taken:
                        self._add(_duplicate(plugin, hook, name))
                        continue
                    taken.add(name)
                    found[name] = spec
                    plugin.registered[hook].append(name)
        return found

    def _call(self, plugin: Plugin, hook: str) -> list[Any]:
        for implementation in getattr(self._hooks.hook, hook).get_hookimpls():
            if implementation.plugin is plugin.module:
                return self._guard(plugin, hook, lambda: _checked(implementation.function(), hook)) or []  # noqa: B023
        return []

    def _guard(self, plugin: Plugin, doing: str, action: Callable[[], Any], fatal: bool = False) -> Any:
        """``action()``, or None and a problem: whatever a plugin raises, and even if it calls sys.exit."""
        try:
            # stdout holds results, and a plugin's greetings aren't any
            with redirect_stdout(sys.stderr):
                return action()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._add(_raised(plugin, doing, error, fatal))
            return None

    def _add(self, problem: Problem) -> None:
        self.problems.append(problem)
        self._report(problem)


def manager() -> Plugins:
    """The plugins of this process; the built-in ones alone under ``--no-plugins``. Problems are warned of once."""
    return _manager(settings.plugins_enabled())


@cache
def _manager(third_party: bool) -> Plugins:
    entries = [entry for entry in discover(GROUP) if third_party or entry.distribution == DISTRIBUTION]
    return Plugins(entries, lambda problem: console.warn(f"plugin {problem.plugin!r}: {problem.message} ({DOCTOR})"))


def spec_names(spec: Any) -> tuple[str, ...]:
    """The names that a spec takes: a metric's keys, anything else's name."""
    return spec.keys if isinstance(spec, MetricSpec) else (spec.name,)


class _RubbishError(Exception):
    """A hook returned something else than a list of its specs."""


def _import(reference: str) -> ModuleType:
    if not re.fullmatch(r"\w+(\.\w+)*", reference):
        raise _RubbishError(f"the entry point must name a module, not {reference!r}")
    return importlib.import_module(reference)


def _contract_problem(name: str, module: ModuleType) -> Problem | None:
    """What in a plugin module breaks the contract before any hook is called."""
    api = getattr(module, "CONDGEN_API", None)
    where = getattr(module, "__file__", None) or ""
    if api is None:
        return Problem(name, "it does not say which API it was written for", f'add CONDGEN_API = "{API_VERSION}"', where, True)
    if api != API_VERSION:
        message = f"it was written for API {_one_line(str(api))}, this is {API_VERSION}"
        return Problem(name, message, "upgrade the plugin or condgen, whichever is older", where, True)
    for attribute, value in vars(module).items():
        if attribute.startswith(PREFIX):
            location = _definition(value)
            if attribute not in HOOKS:
                return Problem(name, f"there is no hook {attribute}", f"hooks: {', '.join(HOOKS)}", location, True)
            if not hasattr(value, f"{GROUP}_impl"):
                return Problem(name, f"{attribute} is not marked as a hook", "put @hookimpl above it", location, True)
    return None


def _wrong_signature(name: str, error: pluggy.PluginValidationError) -> Problem:
    module = error.plugin
    hook = next((hook for hook in HOOKS if hook in str(error)), "")
    location = _definition(getattr(module, hook, None))
    return Problem(name, f"{hook or 'a hook'} has a wrong signature", f"write it as def {hook}():", location, True)


def _duplicate(plugin: Plugin, hook: str, name: str) -> Problem:
    kind = hook.removeprefix(PREFIX).replace("_", " ").removesuffix("s")
    location = _definition(getattr(plugin.module, hook, None))
    return Problem(plugin.name, f"the {kind} {name!r} is taken already and was left out", "give it another name", location)


def _raised(plugin: Plugin, doing: str, error: BaseException, fatal: bool) -> Problem:
    if isinstance(error, _RubbishError):
        location = _definition(getattr(plugin.module, doing, None))
        return Problem(plugin.name, str(error), "see docs/plugins.md", location, fatal)
    what = f"sys.exit({error.code!r})" if isinstance(error, SystemExit) else f"{type(error).__name__}: {_one_line(str(error))}"
    how = "its import failed" if doing == "import" else f"{doing} failed"
    if isinstance(error, ModuleNotFoundError):
        advice = f"install what it needs, or reinstall it: condgen plugin install {plugin.entry.distribution}"
    else:
        advice = f"upgrade it, or remove it: condgen plugin uninstall {plugin.entry.distribution}"
    location = _place(error) or _definition(getattr(plugin.module, doing, None))
    return Problem(plugin.name, f"{how}: {what}", advice, location, fatal)


def _checked(specs: Any, hook: str) -> list[Any]:
    expected = HOOKS[hook]
    if not isinstance(specs, list | tuple) or not all(isinstance(spec, expected) for spec in specs):
        raise _RubbishError(f"{hook} did not return a list of {expected.__name__}")
    for spec in specs:
        for name in spec_names(spec):
            if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
                raise _RubbishError(f"{hook}: {name!r} is not a name")
        for part, kind in get_type_hints(expected).items():
            if kind is str and not isinstance(getattr(spec, part), str):
                raise _RubbishError(f"{hook}: {part} of {spec.name!r} is not a string")
    return list(specs)


def _definition(value: Any) -> str:
    code = getattr(value, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else ""


def _place(error: BaseException) -> str:
    """Where an error was raised; for a syntax error where it is."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename and f.filename != __file__]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())
