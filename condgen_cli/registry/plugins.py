"""Loading plugins, and isolating broken ones.

Each plugin's code runs inside a guard. A failure becomes a ``Problem``: one warning, which ``condgen plugin doctor`` explains.
A hook is called only when its specs are needed.
"""

from __future__ import annotations

import importlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, cached_property
from types import ModuleType
from typing import Any

import pluggy

from condgen_cli import __version__, hookspecs, settings
from condgen_cli.errors import PluginError
from condgen_cli.hookspecs import API_VERSION, GROUP, OLDER_VERSIONS
from condgen_cli.registry import builtin
from condgen_cli.registry.core_commands import CORE
from condgen_cli.registry.entry_points import EntryPoint, discover
from condgen_cli.registry.guard import describe_error, guard
from condgen_cli.registry.plugin_problems import (
    CORE_PACKAGE,
    DISTRIBUTION,
    DOCTOR,
    PREFIX,
    Plugin,
    Problem,
    RejectedError,
    definition_location,
    duplicate_problem,
    failure_problem,
    frames,
    older_api_problem,
    package_of,
    reinstall_command,
    slow_import_problem,
)
from condgen_cli.registry.wellformed import MalformedError, check_spec
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
)
from condgen_cli.terminal import console

__all__ = ["HEAVY", "HOOKS", "SLOW", "Plugins", "failed_plugin", "manager", "plugin_of_module", "spec_names"]


HEAVY = ("torch", "numpy", "pydantic", "PIL", "matplotlib", "rich")
"""Modules that importing a plugin may not import, since every help page would wait for them."""

SLOW = 1.0
"""Import time in seconds above which a plugin's users are warned."""

HOOKS: dict[str, type] = {
    "condgen_register_tasks": TaskSpec,
    "condgen_register_models": ModelSpec,
    "condgen_register_model_sources": ModelSourceSpec,
    "condgen_register_datasets": DatasetSpec,
    "condgen_register_metrics": MetricSpec,
    "condgen_register_match_functions": MatchFunctionSpec,
    "condgen_register_recipes": RecipeSpec,
    "condgen_register_comparisons": ComparisonSpec,
    "condgen_register_inspectors": InspectorSpec,
    "condgen_register_manifests": ManifestSpec,
    "condgen_register_commands": CommandSpec,
}
"""The class of the specs that each hook returns."""


class Plugins:
    """All specs that plugins register, by name. Each mapping is computed on first use.

    Args:
        entries: plugins to load; those of condgen itself are loaded first, so that their names take precedence.
        report: callback for each problem when it is found.
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
    def model_sources(self) -> Mapping[str, ModelSourceSpec]:
        return self._collect("condgen_register_model_sources")

    @cached_property
    def datasets(self) -> Mapping[str, DatasetSpec]:
        return self._collect("condgen_register_datasets")

    @cached_property
    def metrics(self) -> Mapping[str, MetricSpec]:
        """Metrics by key; one with several keys is listed under each."""
        return self._collect("condgen_register_metrics")

    @cached_property
    def match_functions(self) -> Mapping[str, MatchFunctionSpec]:
        return self._collect("condgen_register_match_functions")

    @cached_property
    def recipes(self) -> Mapping[str, RecipeSpec]:
        return self._collect("condgen_register_recipes")

    @cached_property
    def comparisons(self) -> Mapping[str, ComparisonSpec]:
        return self._collect("condgen_register_comparisons")

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
        """All mappings, by kind; calls all hooks."""
        return {hook.removeprefix(PREFIX): getattr(self, hook.removeprefix(PREFIX)) for hook in HOOKS}

    def error_of(self, name: str) -> PluginError | None:
        """The error of the plugin ``name``; None if it has no problem, or there is no such plugin."""
        for problem in sorted(self.problems, key=lambda problem: not problem.fatal):
            if problem.plugin == name:
                return PluginError(f"plugin {name!r} can't be used: {problem.message}", DOCTOR)
        return None

    def _load(self, plugin: Plugin) -> None:
        self.plugins.append(plugin)
        started, folder = time.perf_counter(), _folder()
        loaded = self._guard(plugin, "import", lambda: self._register(plugin), fatal=True)
        seconds = time.perf_counter() - started
        if folder and folder != _folder():
            os.chdir(folder)  # else paths of the command line would mean something else
        if seconds > SLOW and not plugin.builtin:
            self._add(plugin, slow_import_problem(plugin.entry, seconds, getattr(plugin.module, "__file__", None) or ""))
        if loaded:
            self._usable.append(plugin)
            if plugin.api in OLDER_VERSIONS:
                self._add(plugin, older_api_problem(plugin))

    def _register(self, plugin: Plugin) -> bool:
        """Import the plugin and register its hooks with pluggy; returns True, or raises any exception."""
        module = _import(plugin.entry.value)
        plugin.module = module
        _check_contract(plugin, module)
        try:
            self._hooks.register(module, f"{plugin.entry.distribution}:{plugin.name}")
        except pluggy.PluginValidationError as error:
            raise _wrong_signature(module, error) from None
        except ValueError:
            other = next((one for one in self._usable if one.module is module), None)
            by = f", {other.label}" if other else ""
            advice = f"let one entry point alone name {module.__name__}"
            raise RejectedError(f"{module.__name__} is a plugin already{by}", advice) from None
        return True

    def _collect(self, hook: str, reserved: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The specs that all plugins register with a hook, by name; the first plugin to use a name keeps it."""
        found: dict[str, Any] = {}
        takers: dict[str, Plugin | None] = dict.fromkeys(reserved or ())
        if hook == "condgen_register_commands":
            takers |= {name: plugin for plugin in self._usable for name in plugin.registered["condgen_register_tasks"]}
        for plugin in self._usable:
            plugin.registered[hook] = []
            for spec in self._call(plugin, hook):
                for name in spec_names(spec):
                    if name in takers:
                        self._add(plugin, duplicate_problem(plugin, hook, name, takers[name]))
                        continue
                    takers[name] = plugin
                    found[name] = spec
                    plugin.registered[hook].append(name)
        return found

    def _call(self, plugin: Plugin, hook: str) -> Iterator[Any]:
        """The plugin's valid specs; each invalid one becomes a problem."""
        for implementation in getattr(self._hooks.hook, hook).get_hookimpls():
            if implementation.plugin is plugin.module:
                call = implementation.function
                for spec in self._guard(plugin, hook, lambda: _check_list(call(), hook)) or ():  # noqa: B023
                    checked = self._guard(plugin, hook, lambda: check_spec(spec))  # noqa: B023
                    if checked is not None:
                        yield checked

    def _guard(self, plugin: Plugin, doing: str, action: Callable[[], Any], fatal: bool = False) -> Any:
        """``action()``; if it raises anything or tries to end the process, None, and a problem is added."""
        try:
            with guard():
                return action()
        except Exception as error:
            self._add(plugin, failure_problem(plugin, doing, error, fatal))
            return None

    def _add(self, plugin: Plugin, problem: Problem) -> None:
        problem = problem._replace(distribution=plugin.entry.distribution)
        self.problems.append(problem)
        self._report(problem)


def manager() -> Plugins:
    """The plugins of this process; only the built-in ones under ``--no-plugins``. Each problem is warned of once."""
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
    """The names that a spec registers: the keys of a metric, else its name."""
    return spec.keys if isinstance(spec, MetricSpec) else (spec.name,)


def plugin_of_module(module: str) -> EntryPoint | None:
    """The plugin that a module belongs to, by its top-level package; no plugin is loaded."""
    package = module.partition(".")[0]
    return next((entry for entry in discover(GROUP) if package_of(entry) == package), None)


def failed_plugin(error: ImportError) -> PluginError | None:
    """The PluginError for a failed import inside a plugin's running code; None if no plugin's code raised it."""
    entries = {package_of(entry): entry for entry in discover(GROUP)}
    packages = (str(frame.f_globals.get("__name__")).partition(".")[0] for frame in frames(error))
    entry = entries.get(next((package for package in packages if package in entries or package == CORE_PACKAGE), CORE_PACKAGE))
    return entry and PluginError(f"plugin {entry.name!r}: {describe_error(error)}", reinstall_command(entry))


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # the folder was deleted
        return ""


def _import(reference: str) -> ModuleType:
    if not re.fullmatch(r"\w+(\.\w+)*", reference):
        raise RejectedError(f"the entry point must name a module, not {reference!r}", "see docs/plugins.md")
    module = importlib.import_module(reference)
    if not isinstance(module, ModuleType):
        raise RejectedError(f"{reference} has put something else than a module in its place", "see docs/plugins.md")
    return module


def _check_contract(plugin: Plugin, module: ModuleType) -> None:
    """Check a plugin module before any hook is called.

    Raises:
        RejectedError: if it breaks the contract.
    """
    api = getattr(module, "CONDGEN_API", None)
    where = getattr(module, "__file__", None) or ""
    if api is None:
        raise RejectedError("it does not say which API it was written for", f'add CONDGEN_API = "{API_VERSION}"', where)
    plugin.api = " ".join(str(api).split())
    if not isinstance(api, str):
        message = f"CONDGEN_API is {_shorten(api)}, which is not a string"
        raise RejectedError(message, f'write CONDGEN_API = "{API_VERSION}"', where)
    if api not in (API_VERSION, *OLDER_VERSIONS):
        message = f"it was written for API {plugin.api}, this is {API_VERSION}"
        raise RejectedError(message, "upgrade the plugin or condgen, whichever is older", where)
    for attribute, value in list(vars(module).items()):
        if attribute.startswith(PREFIX):
            location = definition_location(value)
            if attribute == "condgen_register_experiments":
                raise RejectedError(f"{attribute} is another hook's name in API 2", "condgen_register_comparisons", location)
            if attribute not in HOOKS:
                raise RejectedError(f"there is no hook {attribute}", f"hooks: {', '.join(HOOKS)}", location)
            if not hasattr(value, f"{GROUP}_impl"):
                raise RejectedError(f"{attribute} is not marked as a hook", "put @hookimpl above it", location)


def _wrong_signature(module: ModuleType, error: pluggy.PluginValidationError) -> RejectedError:
    hook = next((hook for hook in HOOKS if hook in str(error)), "")
    location = definition_location(getattr(module, hook, None))
    return RejectedError(f"{hook or 'a hook'} has a wrong signature", f"write it as def {hook}():", location)


def _check_list(specs: Any, hook: str) -> list[Any]:
    expected = HOOKS[hook]
    if not isinstance(specs, list | tuple) or not all(isinstance(spec, expected) for spec in specs):
        raise MalformedError(f"it did not return a list of {expected.__name__}")
    return list(specs)


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
