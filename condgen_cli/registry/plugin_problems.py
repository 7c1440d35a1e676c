"""Plugins and their problems, with advice and the location in the code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType, ModuleType, TracebackType
from typing import Any, NamedTuple

from condgen_cli.hookspecs import API_VERSION
from condgen_cli.registry.entry_points import EntryPoint
from condgen_cli.registry.guard import describe_error
from condgen_cli.registry.moved import new_place
from condgen_cli.registry.wellformed import MalformedError

__all__ = [
    "CORE_PACKAGE",
    "DISTRIBUTION",
    "DOCTOR",
    "LIGHTER",
    "PREFIX",
    "REINSTALL",
    "Plugin",
    "Problem",
    "RejectedError",
    "definition_location",
    "duplicate_problem",
    "error_location",
    "failure_problem",
    "frames",
    "older_api_problem",
    "package_of",
    "reinstall_command",
    "slow_import_problem",
]

DISTRIBUTION = "condgen"
DOCTOR = "condgen plugin doctor"
REINSTALL = "pip install --force-reinstall condgen"
LIGHTER = "give heavy parts as module:attribute references, and import heavy modules inside functions"

PREFIX = "condgen_register_"

CORE_PACKAGE = "condgen_cli"


class Problem(NamedTuple):
    """A problem of a plugin.

    Args:
        plugin: name of its entry point.
        message: one line.
        advice: what its author or user can do.
        location: ``file:line``; empty if unknown.
        fatal: whether the whole plugin is unusable.
        distribution: name of its distribution, since plugins of two distributions may have the same name.
    """

    plugin: str
    message: str
    advice: str
    location: str = ""
    fatal: bool = False
    distribution: str = ""


@dataclass
class Plugin:
    """A discovered plugin.

    Args:
        entry: its entry point.
        module: its module; None if it could not be loaded.
        api: API version that it was written for; None if unknown.
        registered: names registered by each hook, by the hook's name; filled as hooks are called.
    """

    entry: EntryPoint
    module: ModuleType | None = None
    api: str | None = None
    registered: dict[str, list[str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def label(self) -> str:
        """Unambiguous name for messages, since several plugins may have the same name."""
        return f"plugin {self.name!r} of {self.entry.distribution}"

    @property
    def builtin(self) -> bool:
        return self.entry.distribution == DISTRIBUTION

    def has(self, problem: Problem) -> bool:
        """Whether a problem is one of this plugin."""
        return (problem.plugin, problem.distribution) == (self.name, self.entry.distribution)


class RejectedError(Exception):
    """A plugin breaks the contract.

    Args:
        message: one line.
        advice: what its author can do.
        location: ``file:line``; empty if unknown.
    """

    def __init__(self, message: str, advice: str, location: str = "") -> None:
        super().__init__(message)
        self.advice = advice
        self.location = location


def older_api_problem(plugin: Plugin) -> Problem:
    """The problem of a plugin written for an older API version, most of which still works."""
    message = (
        f"it was written for API {plugin.api}, this is {API_VERSION}, in which models and metrics derive from base classes"
    )
    advice = f'derive them from condgen_cli.model and condgen_cli.metrics, then write CONDGEN_API = "{API_VERSION}"'
    return Problem(plugin.name, message, advice, getattr(plugin.module, "__file__", None) or "")


def slow_import_problem(entry: EntryPoint, seconds: float, where: str) -> Problem:
    """The problem of a slow import."""
    return Problem(entry.name, f"every command waits {seconds:.1f} s for its import", LIGHTER, where)


def duplicate_problem(plugin: Plugin, hook: str, name: str, taker: Plugin | None) -> Problem:
    """The problem of a name that is registered already, by the plugin ``taker``, or by condgen itself if that is None."""
    kind = hook.removeprefix(PREFIX).replace("_", " ").removesuffix("s")
    by = "condgen" if taker is None else "itself" if taker is plugin else taker.label
    location = definition_location(getattr(plugin.module, hook, None))
    message = f"the {kind} {name!r} is taken already, by {by}, and was left out"
    return Problem(plugin.name, message, "give it another name", location)


def failure_problem(plugin: Plugin, doing: str, error: Exception, fatal: bool) -> Problem:
    """The problem of an exception raised by a plugin.

    Args:
        plugin: the plugin.
        doing: ``import``, or the name of the hook that was called.
        error: the exception.
        fatal: whether the whole plugin is unusable.
    """
    if isinstance(error, RejectedError):
        return Problem(plugin.name, str(error), error.advice, error.location, fatal)
    if isinstance(error, MalformedError):
        location = definition_location(getattr(plugin.module, doing, None))
        return Problem(
            plugin.name, f"{doing}: {error}" if doing.startswith(PREFIX) else str(error), "see docs/plugins.md", location, fatal
        )
    how = "its import failed" if doing == "import" else f"{doing} failed"
    if isinstance(error, ImportError):
        advice = new_place(error) or f"install what it needs, or reinstall it: {reinstall_command(plugin.entry)}"
    elif plugin.builtin:
        advice = REINSTALL
    else:
        advice = f"upgrade it, or remove it: condgen plugin uninstall {plugin.entry.distribution}"
    location = error_location(error, plugin.entry) or definition_location(getattr(plugin.module, doing, None))
    return Problem(plugin.name, f"{how}: {describe_error(error)}", advice, location, fatal)


def reinstall_command(entry: EntryPoint) -> str:
    """The command that reinstalls a plugin with what it needs."""
    return REINSTALL if entry.distribution == DISTRIBUTION else f"condgen plugin install {entry.distribution}"


def definition_location(value: Any) -> str:
    """``file:line`` of a function; empty for anything else."""
    code = getattr(value, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else ""


def error_location(error: BaseException, entry: EntryPoint) -> str:
    """``file:line`` in a plugin's own code where an error was raised, or of a syntax error; empty if unknown."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    found = list(frames(error))
    own = [frame for frame in found if str(frame.f_globals.get("__name__")).partition(".")[0] == package_of(entry)]
    if isinstance(cause := error.__cause__, BaseException) and not own:
        return error_location(cause, entry)
    for frame in own or [one for one in found if not _is_machinery(one)]:
        return f"{frame.f_code.co_filename}:{_line(frame, error)}"
    return ""


def frames(error: BaseException) -> Iterator[FrameType]:
    """Frames of an exception's traceback, innermost first."""
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
    return "importlib" in frame.f_code.co_filename or name.partition(".")[0] in (CORE_PACKAGE, "contextlib", "pluggy")


def package_of(entry: EntryPoint) -> str:
    """Top-level package of a plugin's module."""
    return entry.value.partition(".")[0]
