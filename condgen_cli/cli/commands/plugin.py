"""``condgen plugin``: list, check, create, install and remove plugins."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from condgen_cli import settings
from condgen_cli.errors import CondgenError, NotFoundError, UsageError, reason_of
from condgen_cli.options import ReportFormat, ReportFormatOpt
from condgen_cli.terminal import console
from condgen_cli.terminal.printable import printable

if TYPE_CHECKING:
    from condgen_cli.registry.entry_points import EntryPoint
    from condgen_cli.registry.plugin_problems import Plugin, Problem
    from condgen_cli.registry.plugins import Plugins

app = typer.Typer(no_args_is_help=True)

_RESERVED = ("condgen", "core", "plugin", "plugins", "test", "tests")
"""Names that no plugin may have: condgen's own, and those of test packages."""

_TEMPLATE_ENDINGS = ("-distance", "-words")
"""Suffixes of a new plugin's name for its match function and its data set."""

SpecsArg = Annotated[list[str], typer.Argument(metavar="SPEC... [-- PIP OPTION...]", help="Requirements as for pip.")]


@app.command("list")
def list_plugins(format: ReportFormatOpt = ReportFormat.text) -> None:
    """List plugins, what they register, and whether they work."""
    plugins = _load_all()
    if format == ReportFormat.json:
        _print_json({"plugins": [_as_json(plugin, plugins) for plugin in plugins.plugins]})
        return
    for plugin in plugins.plugins:
        print(printable(f"{plugin.name}  {_distribution(plugin)}  API {plugin.api or '?'}  {_status(plugin, plugins)}"))
        for kind, names in _registered_names(plugin).items():
            print(printable(f"    {kind}: {', '.join(names)}"))


@app.command()
def doctor(format: ReportFormatOpt = ReportFormat.text) -> None:
    """Explain the problems of plugins; exit code 5 if there are any."""
    from condgen_cli.cli.doctor import checkup

    plugins, problems = checkup(_entries())
    problems = [*problems, *_zoos(plugins)]
    if format == ReportFormat.json:
        _print_json({"ok": not problems, "problems": [_problem_as_json(problem) for problem in problems]})
    elif problems:
        for problem in problems:
            print(printable(f"{problem.plugin} ({problem.distribution}): {problem.message}"))
            if problem.location:
                print(printable(f"    where: {problem.location}"))
            print(printable(f"    do: {problem.advice}"))
    else:
        print(f"{len(plugins.plugins)} plugins, no problems")
    if problems:
        raise typer.Exit(5)


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits, hyphens; also its task's name.")],
    path: Annotated[Path, typer.Option("--path", metavar="DIR", help="Folder to create the package in.")] = Path(),
) -> None:
    """Create a small working plugin, with tests."""
    import keyword
    import re

    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise UsageError(f"{name!r} can't name a plugin", "use lower-case letters, digits and single hyphens, as in my-task")
    if taken := _name_conflict(name):
        raise UsageError(f"{name!r} can't name a plugin: {taken}", "choose another name")
    target = path / f"condgen-{name}"
    try:
        _write_template(target, name)
    except FileExistsError:
        raise UsageError(f"{target} exists already", "give another name, or --path DIR") from None
    except OSError as error:
        raise CondgenError(f"cannot write {target}: {reason_of(error)}") from error
    print(target)
    console.info(f"install it: condgen plugin install -- --editable {shlex.quote(str(target))}")


@app.command()
def install(specs: SpecsArg) -> None:
    """Install plugins with this Python's pip; refuses those that would overwrite condgen or another plugin."""
    from condgen_cli.registry.distributions import check_arrivals, run_pip

    offline = ["--no-index", "--no-build-isolation"] if settings.current().offline else []
    arguments = [*offline, *specs]
    arrivals = check_arrivals(arguments)
    if not arrivals:
        console.info("everything is installed already")
        return
    run_pip("install", *arguments)
    appeared = [entry for entry in _third_party() if entry.distribution in arrivals]
    for entry in appeared:
        print(_entry_line(entry))
    if not appeared:
        console.warn("no new plugin appeared (condgen plugin list)")
    if Path(sys.prefix, "pipx_metadata.json").exists():
        console.info("pipx doesn't know about it and drops it when it reinstalls condgen; to keep it: pipx inject condgen …")


@app.command()
def uninstall(specs: SpecsArg) -> None:
    """Remove plugins, by name of the plugin or of its distribution."""
    from condgen_cli.registry.distributions import run_pip

    installed = _third_party()
    wanted = list(dict.fromkeys(_distribution_of(spec, installed) for spec in specs if not spec.startswith("-")))
    for distribution in wanted:
        _check_removal(distribution)
    run_pip("uninstall", "--yes", *(spec for spec in specs if spec.startswith("-")), *wanted)
    left = _third_party()
    for entry in installed:
        if entry not in left:
            print(_entry_line(entry))
    remaining = [distribution for distribution in wanted if any(entry.distribution == distribution for entry in left)]
    if remaining:
        raise CondgenError(f"{' and '.join(remaining)} could not be removed: see pip's message")


def _distribution_of(spec: str, installed: Sequence[EntryPoint]) -> str:
    """The distribution that a name given by the user stands for.

    Raises:
        NotFoundError: if there is none.
        UsageError: if there are several.
    """
    from condgen_cli.registry.entry_points import normalize_name

    name = normalize_name(spec)
    found = sorted({one.distribution for one in installed if name in (one.distribution, normalize_name(one.name))})
    if not found:
        known = ", ".join(sorted({entry.name for entry in installed}))
        raise NotFoundError(f"no plugin named {spec!r} that could be removed", f"installed: {known}" if known else None)
    if len(found) > 1:
        hints = [
            f"condgen plugin uninstall {one}" if one != name else f"{sys.executable} -m pip uninstall {one}" for one in found
        ]
        raise UsageError(f"{' and '.join(found)} each provide a plugin {spec!r}: name one of them", " or ".join(hints))
    return found[0]


def _check_removal(distribution: str) -> None:
    """Refuse to remove a distribution whose files include condgen's own modules.

    Raises:
        PluginError: if it has such files.
    """
    from condgen_cli.errors import PluginError
    from condgen_cli.registry.distributions import installed_modules, owned_modules
    from condgen_cli.registry.plugin_problems import DISTRIBUTION, REINSTALL

    ours = sorted(installed_modules(distribution) & {name for name, owner in owned_modules().items() if owner == DISTRIBUTION})
    if ours:
        message = f"{distribution} has overwritten condgen's own {' and '.join(ours)}, which would be removed with it"
        raise PluginError(message, f"{sys.executable} -m pip uninstall {distribution}, then {REINSTALL}")


def _name_conflict(name: str) -> str:
    """The conflict of a new plugin's names with existing ones; empty if there is none."""
    from importlib import metadata
    from importlib.util import find_spec

    from condgen_cli.registry.core_commands import CORE
    from condgen_cli.registry.entry_points import normalize_name

    if name in CORE:
        return "it is a command of condgen already"
    if name in _RESERVED:
        return "it is reserved"
    module = f"condgen_{name.replace('-', '_')}"
    if find_spec(module):
        return f"there is a module {module} already"
    known = {normalize_name(one.metadata["Name"] or "") for one in metadata.distributions()}
    if f"condgen-{name}" in known:
        return f"a distribution condgen-{name} is installed already"
    plugins = _load_all()
    if any(normalize_name(plugin.name) == name for plugin in plugins.plugins):
        return "there is a plugin of that name already"
    for kind, specs in plugins.all().items():
        for other in specs:
            if normalize_name(other) in (name, *(f"{name}{ending}" for ending in _TEMPLATE_ENDINGS)):
                return f"there is something named {other} among the {kind.replace('_', ' ')} already"
    from condgen_cli.zoo.sources import bundled_source

    if any(normalize_name(one) == name for entry in bundled_source().manifest.entries for one in entry.names):
        return "there is a model of that name already"
    return ""


def _load_all() -> Plugins:
    """All plugins with every hook called; problems are only reported at the end, without warnings."""
    from condgen_cli.registry.plugins import Plugins

    plugins = Plugins(_entries())
    plugins.all()
    return plugins


def _entries() -> list[EntryPoint]:
    from condgen_cli.hookspecs import GROUP
    from condgen_cli.registry.entry_points import discover
    from condgen_cli.registry.plugin_problems import DISTRIBUTION

    third_party = settings.plugins_enabled()
    return [entry for entry in discover(GROUP) if third_party or entry.distribution == DISTRIBUTION]


def _third_party() -> list[EntryPoint]:
    from condgen_cli.hookspecs import GROUP
    from condgen_cli.registry.entry_points import discover
    from condgen_cli.registry.plugin_problems import DISTRIBUTION

    return [entry for entry in discover(GROUP) if entry.distribution != DISTRIBUTION]


def _entry_line(entry: EntryPoint) -> str:
    return printable(f"{entry.name}  {entry.distribution} {entry.version}".rstrip())


def _registered_names(plugin: Plugin) -> dict[str, list[str]]:
    from condgen_cli.registry.plugin_problems import PREFIX

    return {hook.removeprefix(PREFIX): names for hook, names in plugin.registered.items() if names}


def _distribution(plugin: Plugin) -> str:
    return f"{plugin.entry.distribution} {plugin.entry.version}".rstrip()


def _status(plugin: Plugin, plugins: Plugins) -> str:
    problems = [problem for problem in plugins.problems if plugin.has(problem)]
    if any(problem.fatal for problem in problems):
        return "broken"
    return "problems" if problems else "ok"


def _as_json(plugin: Plugin, plugins: Plugins) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "distribution": plugin.entry.distribution,
        "version": plugin.entry.version,
        "api": plugin.api,
        "status": _status(plugin, plugins),
        "registers": _registered_names(plugin),
        "problems": [_problem_as_json(problem) for problem in plugins.problems if plugin.has(problem)],
    }


def _problem_as_json(problem: Problem) -> dict[str, str]:
    return {
        "plugin": problem.plugin,
        "distribution": problem.distribution,
        "message": problem.message,
        "where": problem.location,
        "advice": problem.advice,
    }


def _zoos(plugins: Plugins) -> Iterator[Problem]:
    """Problems of plugins' zoos: unreadable manifests and unreachable models."""
    from condgen_cli.zoo.conflicts import zoo_problems

    return zoo_problems(plugins)


def _write_template(target: Path, name: str) -> None:
    import re
    from importlib.resources import as_file, files

    names = {"condgen_example": f"condgen_{name.replace('-', '_')}", "example": name}

    def rename(text: str) -> str:
        # in one pass, since the new name may contain "example"; the method example() of a model keeps its name
        return re.sub(r"condgen_example|example(?!\()", lambda found: names[found.group()], text)

    target.mkdir(parents=True)
    with as_file(files("condgen_cli").joinpath("template")) as template:
        for source in sorted(template.rglob("*")):
            if source.is_file() and "__pycache__" not in source.parts:
                destination = target / rename(str(source.relative_to(template)))
                destination.parent.mkdir(parents=True, exist_ok=True)
                destination.write_text(rename(source.read_text(encoding="utf-8")), encoding="utf-8")


def _print_json(document: dict[str, Any]) -> None:
    import json

    print(json.dumps(document, indent=2, ensure_ascii=False))
