"""Finding plugins, and keeping a broken one from harming the rest.

Each plugin is imported, checked and asked inside its own guard. What goes wrong becomes a ``Problem``: one warning,
explained by ``condgen plugin doctor``. Hooks are called when somebody needs what they register, and never before.
"""

from __future__ import annotations

import importlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from types import FrameType, ModuleType, TracebackType
from typing import Any, NamedTuple

import pluggy

from condgen_cli import __version__, builtin, console, hookspecs, settings
from condgen_cli.commands import CORE
from condgen_cli.entry_points import EntryPoint, discover
from condgen_cli.errors import PluginError
from condgen_cli.guard import guard, told
from condgen_cli.hookspecs import API_VERSION, GROUP, OLDER_VERSIONS
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
from condgen_cli.wellformed import MalformedError, well_formed

__all__ = [
    "DOCTOR",
    "HEAVY",
    "HOOKS",
    "LIGHTER",
    "Plugin",
    "Plugins",
    "Problem",
    "failed_plugin",
    "manager",
    "place",
    "plugin_of_module",
    "slow_import",
    "spec_names",
]

PREFIX = "condgen_register_"
DISTRIBUTION = "condgen"
DOCTOR = "condgen plugin doctor"

HEAVY = ("torch", "numpy", "pydantic", "PIL", "matplotlib", "rich")
"""What importing a plugin may not import, since every help page would wait for it."""

SLOW = 1.0
"""Seconds of an import that every user of a plugin is told of."""

_CORE = "condgen_cli"

REINSTALL = "pip install --force-reinstall condgen"

LIGHTER = "name heavy parts as module:attribute, and import what is heavy inside functions"

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
        distribution: that brings it; two may bring plugins of one name.
    """

    plugin: str
    message: str
    advice: str
    location: str = ""
    fatal: bool = False
    distribution: str = ""


@dataclass
class Plugin:
    """A plugin as found.

    Args:
        entry: its entry point.
        module: None if it could not be loaded.
        api: the API version that it was written for, if it says so.
        registered: hook's name to the names that it registered, filled as hooks are called.
    """

    entry: EntryPoint
    module: ModuleType | None = None
    api: str | None = None
    registered: dict[str, list[str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def builtin(self) -> bool:
        return self.entry.distribution == DISTRIBUTION

    def has(self, problem: Problem) -> bool:
        """Whether the problem is this plugin's."""
        return (problem.plugin, problem.distribution) == (self.name, self.entry.distribution)


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
        return self._collect("condgen_register_tasks", CORE)

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
        return self._collect("condgen_register_commands", {**CORE, **self.tasks})

    def all(self) -> dict[str, Mapping[str, Any]]:
        """Every mapping, by what it holds: all hooks are called."""
        return {hook.removeprefix(PREFIX): getattr(self, hook.removeprefix(PREFIX)) for hook in HOOKS}

    def broken(self, name: str) -> PluginError | None:
        """Why a plugin ``name`` doesn't bring what it should; None if it has no problem, or if there is no such plugin."""
        for problem in sorted(self.problems, key=lambda problem: not problem.fatal):
            if problem.plugin == name:
                return PluginError(f"plugin {name!r} can't be used: {problem.message}", DOCTOR)
        return None

    def _load(self, plugin: Plugin) -> None:
        self.plugins.append(plugin)
        started, folder = time.perf_counter(), _folder()
        loaded = self._guard(plugin, "import", lambda: self._registered(plugin), fatal=True)
        seconds = time.perf_counter() - started
        if folder and folder != _folder():
            os.chdir(folder)  # else paths of the command line would mean something else
        if seconds > SLOW and not plugin.builtin:
            self._add(plugin, slow_import(plugin.entry, seconds, getattr(plugin.module, "__file__", None) or ""))
        if loaded:
            self._usable.append(plugin)
            if plugin.api in OLDER_VERSIONS:
                self._add(plugin, _older(plugin))

    def _registered(self, plugin: Plugin) -> bool:
        """Import the plugin and give its hooks to pluggy; True, or an exception of whatever kind."""
        module = _import(plugin.entry.value)
        plugin.module = module
        _check_contract(plugin, module)
        try:
            self._hooks.register(module, f"{plugin.entry.distribution}:{plugin.name}")
        except pluggy.PluginValidationError as error:
            raise _wrong_signature(module, error) from None
        except ValueError:
            other = next((one for one in self._usable if one.module is module), None)
            by = f", {_described(other)}" if other else ""
            advice = f"let one entry point alone name {module.__name__}"
            raise _RejectedError(f"{module.__name__} is a plugin already{by}", advice) from None
        return True

    def _collect(self, hook: str, reserved: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What all plugins register with a hook, by name; the first plugin that takes a name keeps it."""
        found: dict[str, Any] = {}
        takers: dict[str, Plugin | None] = dict.fromkeys(reserved or ())
        if hook == "condgen_register_commands":
            takers |= {name: plugin for plugin in self._usable for name in plugin.registered["condgen_register_tasks"]}
        for plugin in self._usable:
            plugin.registered[hook] = []
            for spec in self._call(plugin, hook):
                for name in spec_names(spec):
                    if name in takers:
                        self._add(plugin, _duplicate(plugin, hook, name, takers[name]))
                        continue
                    takers[name] = plugin
                    found[name] = spec
                    plugin.registered[hook].append(name)
        return found

    def _call(self, plugin: Plugin, hook: str) -> Iterator[Any]:
        """The plugin's well-formed specs; each of the others is a problem of its own."""
        for implementation in getattr(self._hooks.hook, hook).get_hookimpls():
            if implementation.plugin is plugin.module:
                call = implementation.function
                for spec in self._guard(plugin, hook, lambda: _listed(call(), hook)) or ():  # noqa: B023
                    checked = self._guard(plugin, hook, lambda: well_formed(spec))  # noqa: B023
                    if checked is not None:
                        yield checked

    def _guard(self, plugin: Plugin, doing: str, action: Callable[[], Any], fatal: bool = False) -> Any:
        """``action()``, or None and a problem: whatever a plugin raises, and even if it would end the process."""
        try:
            with guard():
                return action()
        except Exception as error:
            self._add(plugin, _raised(plugin, doing, error, fatal))
            return None

    def _add(self, plugin: Plugin, problem: Problem) -> None:
        problem = problem._replace(distribution=plugin.entry.distribution)
        self.problems.append(problem)
        self._report(problem)


def manager() -> Plugins:
    """The plugins of this process; the built-in ones alone under ``--no-plugins``. Problems are warned of once."""
    return _manager(settings.plugins_enabled())


@cache
def _manager(third_party: bool) -> Plugins:
    entries = [entry for entry in discover(GROUP) if third_party or entry.distribution == DISTRIBUTION]
    names = [entry.name for entry in entries]

    def warn(problem: Problem) -> None:
        of = f" of {problem.distribution}" if names.count(problem.plugin) > 1 else ""
        console.warn(f"plugin {problem.plugin!r}{of}: {problem.message} ({DOCTOR})")

    return Plugins(entries, warn)


def spec_names(spec: Any) -> tuple[str, ...]:
    """The names that a spec takes: a metric's keys, anything else's name."""
    return spec.keys if isinstance(spec, MetricSpec) else (spec.name,)


def plugin_of_module(module: str) -> EntryPoint | None:
    """The plugin that a module belongs to, by its outermost package; none of them is loaded for it."""
    package = module.partition(".")[0]
    return next((entry for entry in discover(GROUP) if _package(entry) == package), None)


def failed_plugin(error: ImportError) -> PluginError | None:
    """What a plugin imports as it runs and what isn't there, as the plugin's error; None if no plugin imports it."""
    entries = {_package(entry): entry for entry in discover(GROUP)}
    packages = (str(frame.f_globals.get("__name__")).partition(".")[0] for frame in _frames(error))
    entry = entries.get(next((package for package in packages if package in entries or package == _CORE), _CORE))
    return entry and PluginError(f"plugin {entry.name!r}: {told(error)}", _restore(entry))


class _RejectedError(Exception):
    """A plugin breaks the contract: what is wrong, what to do, and where."""

    def __init__(self, message: str, advice: str, location: str = "") -> None:
        super().__init__(message)
        self.advice = advice
        self.location = location


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it is gone
        return ""


def _import(reference: str) -> ModuleType:
    if not re.fullmatch(r"\w+(\.\w+)*", reference):
        raise _RejectedError(f"the entry point must name a module, not {reference!r}", "see docs/plugins.md")
    module = importlib.import_module(reference)
    if not isinstance(module, ModuleType):
        raise _RejectedError(f"{reference} has put something else than a module in its place", "see docs/plugins.md")
    return module


def _check_contract(plugin: Plugin, module: ModuleType) -> None:
    """What in a plugin module breaks the contract before any hook is called.

    Raises:
        _RejectedError: if anything does.
    """
    api = getattr(module, "CONDGEN_API", None)
    where = getattr(module, "__file__", None) or ""
    if api is None:
        raise _RejectedError("it does not say which API it was written for", f'add CONDGEN_API = "{API_VERSION}"', where)
    plugin.api = " ".join(str(api).split())
    if not isinstance(api, str):
        message = f"CONDGEN_API is {_shortened(api)}, which is not a string"
        raise _RejectedError(message, f'write CONDGEN_API = "{API_VERSION}"', where)
    if api not in (API_VERSION, *OLDER_VERSIONS):
        message = f"it was written for API {plugin.api}, this is {API_VERSION}"
        raise _RejectedError(message, "upgrade the plugin or condgen, whichever is older", where)
    for attribute, value in list(vars(module).items()):
        if attribute.startswith(PREFIX):
            location = _definition(value)
            if attribute not in HOOKS:
                raise _RejectedError(f"there is no hook {attribute}", f"hooks: {', '.join(HOOKS)}", location)
            if not hasattr(value, f"{GROUP}_impl"):
                raise _RejectedError(f"{attribute} is not marked as a hook", "put @hookimpl above it", location)


def _wrong_signature(module: ModuleType, error: pluggy.PluginValidationError) -> _RejectedError:
    hook = next((hook for hook in HOOKS if hook in str(error)), "")
    location = _definition(getattr(module, hook, None))
    return _RejectedError(f"{hook or 'a hook'} has a wrong signature", f"write it as def {hook}():", location)


def _older(plugin: Plugin) -> Problem:
    """The note that a plugin was written for an older API, of which most goes on to work."""
    message = (
        f"it was written for API {plugin.api}, this is {API_VERSION}, in which models and metrics derive from base classes"
    )
    advice = f'derive them from condgen_cli.model and condgen_cli.metrics, then write CONDGEN_API = "{API_VERSION}"'
    return Problem(plugin.name, message, advice, getattr(plugin.module, "__file__", None) or "")


def slow_import(entry: EntryPoint, seconds: float, where: str) -> Problem:
    """The problem of a plugin whose import takes more than ``SLOW`` seconds."""
    return Problem(entry.name, f"every command waits {seconds:.1f} s for its import", LIGHTER, where)


def _duplicate(plugin: Plugin, hook: str, name: str, taker: Plugin | None) -> Problem:
    kind = hook.removeprefix(PREFIX).replace("_", " ").removesuffix("s")
    by = "condgen" if taker is None else "itself" if taker is plugin else _described(taker)
    location = _definition(getattr(plugin.module, hook, None))
    message = f"the {kind} {name!r} is taken already, by {by}, and was left out"
    return Problem(plugin.name, message, "give it another name", location)


def _described(plugin: Plugin) -> str:
    return f"plugin {plugin.name!r} of {plugin.entry.distribution}"


def _raised(plugin: Plugin, doing: str, error: Exception, fatal: bool) -> Problem:
    if isinstance(error, _RejectedError):
        return Problem(plugin.name, str(error), error.advice, error.location, fatal)
    if isinstance(error, MalformedError):
        location = _definition(getattr(plugin.module, doing, None))
        return Problem(
            plugin.name, f"{doing}: {error}" if doing in HOOKS else str(error), "see docs/plugins.md", location, fatal
        )
    how = "its import failed" if doing == "import" else f"{doing} failed"
    if isinstance(error, ImportError):
        advice = f"install what it needs, or reinstall it: {_restore(plugin.entry)}"
    elif plugin.builtin:
        advice = REINSTALL
    else:
        advice = f"upgrade it, or remove it: condgen plugin uninstall {plugin.entry.distribution}"
    location = place(error, plugin.entry) or _definition(getattr(plugin.module, doing, None))
    return Problem(plugin.name, f"{how}: {told(error)}", advice, location, fatal)


def _restore(entry: EntryPoint) -> str:
    """The command that installs what a plugin needs and can't import."""
    return REINSTALL if entry.distribution == DISTRIBUTION else f"condgen plugin install {entry.distribution}"


def _listed(specs: Any, hook: str) -> list[Any]:
    expected = HOOKS[hook]
    if not isinstance(specs, list | tuple) or not all(isinstance(spec, expected) for spec in specs):
        raise MalformedError(f"it did not return a list of {expected.__name__}")
    return list(specs)


def _definition(value: Any) -> str:
    code = getattr(value, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else ""


def place(error: BaseException, entry: EntryPoint) -> str:
    """``file:line`` in a plugin's own code where an error was raised, if it was there; for a syntax error where it is."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = list(_frames(error))
    own = [frame for frame in frames if str(frame.f_globals.get("__name__")).partition(".")[0] == _package(entry)]
    if isinstance(cause := error.__cause__, BaseException) and not own:
        return place(cause, entry)
    for frame in own or [one for one in frames if not _is_machinery(one)]:
        return f"{frame.f_code.co_filename}:{_line(frame, error)}"
    return ""


def _frames(error: BaseException) -> Iterator[FrameType]:
    """Of the traceback, the innermost first."""
    return (one.tb_frame for one in reversed(_trace(error)))


def _trace(error: BaseException) -> list[TracebackType]:
    found = []
    trace = error.__traceback__
    while trace is not None:
        found.append(trace)
        trace = trace.tb_next
    return found


def _line(frame: FrameType, error: BaseException) -> int:
    return next(one.tb_lineno for one in reversed(_trace(error)) if one.tb_frame is frame)


def _is_machinery(frame: FrameType) -> bool:
    name = str(frame.f_globals.get("__name__"))
    return "importlib" in frame.f_code.co_filename or name.partition(".")[0] in (_CORE, "contextlib", "pluggy")


def _package(entry: EntryPoint) -> str:
    return entry.value.partition(".")[0]


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
