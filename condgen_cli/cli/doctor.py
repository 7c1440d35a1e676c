"""What is wrong with plugins, found before somebody uses them: by ``condgen plugin doctor``, and by plugins' own tests.

A stranger's plugin is looked at in a process of its own: it may end it, or never return.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from condgen_cli.cli.checkup import file_of, missing_modules, name_problems, part_problems
from condgen_cli.hookspecs import GROUP
from condgen_cli.registry.entry_points import EntryPoint, discover
from condgen_cli.registry.plugin_problems import DISTRIBUTION, LIGHTER, Problem, slow_import
from condgen_cli.registry.plugins import HEAVY, SLOW, Plugins

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
        found += name_problems(plugin, plugins)
        if plugin.builtin:
            found += missing_modules(plugin, plugins)
    return plugins, [*plugins.problems, *found]


def plugin_problems(entry: EntryPoint) -> list[Problem]:
    """What is wrong with one plugin, beside all others that are installed; its modules are imported in this process."""
    others = [one for one in discover(GROUP) if one.value != entry.value]
    plugins = Plugins([*others, entry])
    plugins.all()
    plugin = next(one for one in plugins.plugins if one.entry == entry)
    problems = [problem for problem in plugins.problems if plugin.has(problem)]
    return [*problems, *name_problems(plugin, plugins), *part_problems(plugin, plugins), *_import_problems(entry)]


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
        for problem in _weight_problems(entry, list(sys.modules)[modules:], file_of(plugin)):
            write(problem=problem)
        lasting = [one for one in threading.enumerate() if not one.daemon and one is not threading.current_thread()]
        for thread in lasting:
            message = f"its import leaves a thread running, for which every command waits at its end: {thread.name}"
            write(problem=Problem(entry.name, message, "make it a daemon", file_of(plugin), False, entry.distribution))
        write(doing="hooks")
        plugins.all()
        plugins = Plugins([entry, *(one for one in discover(GROUP) if one.distribution == DISTRIBUTION)])
        plugins.all()
        plugin = next(one for one in plugins.plugins if one.entry == entry)
        for problem in part_problems(plugin, plugins, lambda doing: write(doing=doing)):
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
