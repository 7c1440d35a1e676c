"""``condgen plugin``: what is installed, what is wrong with it, and how to write, install and remove one."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from condgen_cli import console, settings
from condgen_cli.errors import CondgenError, NotFoundError, UsageError
from condgen_cli.options import ReportFormat, ReportFormatOpt
from condgen_cli.printable import printable

if TYPE_CHECKING:
    from condgen_cli.plugins import Plugin, Plugins, Problem

app = typer.Typer(no_args_is_help=True)

SpecsArg = Annotated[list[str], typer.Argument(metavar="SPEC... [-- PIP OPTION...]", help="As pip takes them.")]


@app.command("list")
def list_plugins(format: ReportFormatOpt = ReportFormat.text) -> None:
    """Plugins, what they register, and whether they work."""
    plugins = _everything()
    if format == ReportFormat.json:
        _print_json({"plugins": [_as_json(plugin, plugins) for plugin in plugins.plugins]})
        return
    for plugin in plugins.plugins:
        print(printable(f"{plugin.name}  {_distribution(plugin)}  API {plugin.api or '?'}  {_status(plugin, plugins)}"))
        for kind, names in _registered(plugin).items():
            print(printable(f"    {kind}: {', '.join(names)}"))


@app.command()
def doctor(format: ReportFormatOpt = ReportFormat.text) -> None:
    """Explain what is wrong with plugins; exit code 5 if anything is."""
    plugins = _everything()
    problems = [*plugins.problems, *_dangling(plugins)]
    if format == ReportFormat.json:
        _print_json({"ok": not problems, "problems": [_problem_as_json(problem) for problem in problems]})
    elif problems:
        for problem in problems:
            print(printable(f"{problem.plugin}: {problem.message}"))
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
    path: Annotated[Path, typer.Option("--path", metavar="DIR", help="Where the package's folder is made.")] = Path(),
) -> None:
    """Write a small plugin that works, with its tests."""
    import keyword
    import re

    from condgen_cli.commands import CORE

    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise UsageError(f"{name!r} can't name a plugin", "use lower-case letters, digits and single hyphens, as in my-task")
    if name in CORE:
        raise UsageError(f"{name!r} is a command of condgen already", "choose another name")
    target = path / f"condgen-{name}"
    try:
        _write_template(target, name)
    except FileExistsError:
        raise UsageError(f"{target} exists already", "give another name, or --path DIR") from None
    except OSError as error:
        raise CondgenError(f"cannot write {target}: {error.strerror}") from error
    print(target)
    console.info(f"install it: condgen plugin install -- --editable {target}")


@app.command()
def install(specs: SpecsArg) -> None:
    """Install plugins with this Python's pip."""
    before = set(_third_party())
    offline = ["--no-index", "--no-build-isolation"] if settings.current().offline else []
    _pip("install", *offline, *specs)
    appeared = [plugin for plugin in _third_party() if plugin not in before]
    for plugin in appeared:
        print(f"{plugin.name}  {plugin.distribution} {plugin.version}".rstrip())
    if not appeared:
        console.warn("no new plugin appeared (condgen plugin list)")


@app.command()
def uninstall(specs: SpecsArg) -> None:
    """Remove plugins, by their own name or their distribution's."""
    installed = _third_party()
    distributions = {entry.name: entry.distribution for entry in installed} | {
        e.distribution: e.distribution for e in installed
    }
    wanted = [spec for spec in specs if not spec.startswith("-")]
    for spec in wanted:
        if spec not in distributions:
            known = ", ".join(sorted({entry.name for entry in installed}))
            raise NotFoundError(f"no plugin named {spec!r} that could be removed", f"installed: {known}" if known else None)
    _pip("uninstall", "--yes", *(distributions.get(spec, spec) for spec in specs))
    for entry in installed:
        if entry not in _third_party():
            print(f"{entry.name}  {entry.distribution} {entry.version}".rstrip())


def _everything() -> Plugins:
    """All plugins with every hook called; problems are for the report, not for warnings on the way."""
    from condgen_cli.entry_points import discover
    from condgen_cli.hookspecs import GROUP
    from condgen_cli.plugins import DISTRIBUTION, Plugins

    third_party = settings.plugins_enabled()
    plugins = Plugins(entry for entry in discover(GROUP) if third_party or entry.distribution == DISTRIBUTION)
    plugins.all()
    return plugins


def _third_party() -> list[Any]:
    from condgen_cli.entry_points import discover
    from condgen_cli.hookspecs import GROUP
    from condgen_cli.plugins import DISTRIBUTION

    return [entry for entry in discover(GROUP) if entry.distribution != DISTRIBUTION]


def _registered(plugin: Plugin) -> dict[str, list[str]]:
    from condgen_cli.plugins import PREFIX

    return {hook.removeprefix(PREFIX): names for hook, names in plugin.registered.items() if names}


def _distribution(plugin: Plugin) -> str:
    return f"{plugin.entry.distribution} {plugin.entry.version}".rstrip()


def _status(plugin: Plugin, plugins: Plugins) -> str:
    problems = [problem for problem in plugins.problems if problem.plugin == plugin.name]
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
        "registers": _registered(plugin),
        "problems": [_problem_as_json(problem) for problem in plugins.problems if problem.plugin == plugin.name],
    }


def _problem_as_json(problem: Problem) -> dict[str, str]:
    return {"plugin": problem.plugin, "message": problem.message, "where": problem.location, "advice": problem.advice}


def _dangling(plugins: Plugins) -> Iterator[Problem]:
    """References of specs that lead nowhere."""
    from condgen_cli.errors import PluginError
    from condgen_cli.plugins import Problem

    for plugin, spec in _specs(plugins):
        for attribute, check in _CHECKS.items():
            if reference := getattr(spec, attribute, ""):
                try:
                    check(spec, reference)
                except (PluginError, ImportError, ValueError) as error:
                    message = f"{attribute} of {getattr(spec, 'name', spec)!r}: {error}"
                    advice = f"correct {reference!r} where it is registered, or install what its module needs"
                    yield Problem(plugin.name, message, advice, getattr(plugin.module, "__file__", None) or "")


def _importable(spec: Any, reference: str) -> None:
    from condgen_cli.specs import resolve

    resolve(reference)


def _findable(spec: Any, reference: str) -> None:
    """Looks for a module's file: importlib.util.find_spec would import the packages above it, and those may import torch."""
    from importlib.machinery import PathFinder
    from importlib.util import find_spec

    from condgen_cli.errors import PluginError

    name, *rest = reference.partition(":")[0].split(".")
    found = find_spec(name)
    for part in rest:
        name = f"{name}.{part}"
        found = found and PathFinder.find_spec(name, found.submodule_search_locations)
    if not found:
        raise PluginError(f"there is no module {reference.partition(':')[0]}")


def _packaged(spec: Any, package: str) -> None:
    from importlib.resources import files

    from condgen_cli.errors import PluginError

    if not files(package).joinpath(spec.file).is_file():
        raise PluginError(f"{package} holds no {spec.file}")


# commands are light and get imported; modules that may import torch are only looked for
_CHECKS: dict[str, Callable[[Any, str], None]] = {
    "command": _importable,
    "reader": _findable,
    "build": _findable,
    "experiment": _findable,
    "open": _findable,
    "package": _packaged,
}


def _specs(plugins: Plugins) -> Iterator[tuple[Plugin, Any]]:
    for kind, specs in plugins.all().items():
        for plugin in plugins.plugins:
            names = plugin.registered.get(f"condgen_register_{kind}", [])
            # a metric is there once for each of its keys
            distinct = {id(specs[name]): specs[name] for name in names}
            yield from ((plugin, spec) for spec in distinct.values())


def _write_template(target: Path, name: str) -> None:
    from importlib.resources import as_file, files

    module = name.replace("-", "_")
    target.mkdir(parents=True)
    with as_file(files("condgen_cli").joinpath("template")) as template:
        for source in sorted(template.rglob("*")):
            if source.is_file() and "__pycache__" not in source.parts:
                relative = str(source.relative_to(template)).replace("condgen_example", f"condgen_{module}")
                text = source.read_text(encoding="utf-8").replace("condgen_example", f"condgen_{module}")
                destination = target / relative
                destination.parent.mkdir(parents=True, exist_ok=True)
                # a model's method example() is the core's name for it
                destination.write_text(re.sub(r"example(?!\()", name, text), encoding="utf-8")


def _pip(*arguments: str) -> None:
    """Run this interpreter's pip, its output on stderr."""
    import subprocess
    from importlib.util import find_spec

    if not find_spec("pip"):
        raise CondgenError(f"{sys.executable} has no pip", f"{sys.executable} -m ensurepip")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    if code := subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        raise CondgenError(f"pip {arguments[0]} failed with exit code {code}")


def _print_json(document: dict[str, Any]) -> None:
    import json

    print(json.dumps(document, indent=2, ensure_ascii=False))
