"""Installing and removing plugins with pip, refusing those that would overwrite modules of condgen or of another plugin."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from configparser import ConfigParser
from configparser import Error as ConfigError
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

from condgen_cli.errors import CondgenError, PluginError
from condgen_cli.hookspecs import GROUP
from condgen_cli.registry.entry_points import discover, normalize_name
from condgen_cli.registry.plugin_problems import DISTRIBUTION

__all__ = ["check_arrivals", "installed_modules", "owned_modules", "run_pip"]

CORE_PACKAGE = "condgen_cli"

_SHARED_FLAGS = {
    *("--no-index", "--pre", "--no-build-isolation", "--no-cache-dir", "--isolated", "--prefer-binary", "--require-virtualenv"),
    *("--ignore-requires-python", "--use-pep517", "--check-build-dependencies", "--no-input"),
}
_SHARED_VALUES = {
    *("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--trusted-host", "--proxy", "--retries", "--timeout"),
    *(
        "--cert",
        "--client-cert",
        "--cache-dir",
        "--keyring-provider",
        "-C",
        "--config-settings",
        "--no-binary",
        "--only-binary",
    ),
}
"""Options of ``pip install`` that ``pip wheel`` also has: about the source of distributions and how they are built."""


_PLACES = ("purelib", "platlib", "site-packages", "dist-packages")
"""Folders within a wheel's ``.data`` folder that are installed as modules."""


class Contents(NamedTuple):
    """The contents of a wheel.

    Args:
        modules: names of top-level modules and packages.
        scripts: names of commands.
        is_plugin: whether it has entry points for condgen.
    """

    modules: frozenset[str]
    scripts: frozenset[str]
    is_plugin: bool


def run_pip(*arguments: str, quiet: bool = False) -> None:
    """Run this interpreter's pip, with its output on stderr.

    Args:
        arguments: arguments of pip.
        quiet: whether to show errors only.
    Raises:
        CondgenError: if there is no pip, or it fails.
    """
    from importlib.util import find_spec

    if not find_spec("pip"):
        raise CondgenError(f"{sys.executable} has no pip", _pip_hint())
    options = ["--disable-pip-version-check", *(["--quiet"] if quiet else [])]
    command = [sys.executable, "-m", "pip", *options, *arguments]
    if code := subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        raise CondgenError(f"pip {arguments[0]} failed with exit code {code}")


def check_arrivals(arguments: Sequence[str]) -> list[str]:
    """Check what ``pip install`` would install, without installing it.

    Args:
        arguments: arguments of ``pip install``.
    Returns:
        the normalised names of the distributions; empty if everything is installed already.
    Raises:
        PluginError: if one of them would overwrite a module or command of condgen or of another plugin.
        CondgenError: if pip fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        run_pip("install", "--dry-run", "--report", str(report), *arguments, quiet=True)
        arrivals = [_Arrival.of(item) for item in json.loads(report.read_text(encoding="utf-8"))["install"]]
        owned = owned_modules()
        for number, arrival in enumerate(arrivals):
            if arrival.name == DISTRIBUTION:
                message = f"nothing was installed: condgen itself would be replaced by its version {arrival.version}"
                raise PluginError(message, "pip install --upgrade condgen")
            wheels = Path(folder, str(number))
            with _remove_build_files(arrival.folder):
                run_pip(
                    "wheel", "--no-deps", "--wheel-dir", str(wheels), *_shared_options(arguments), arrival.source, quiet=True
                )
            for wheel in wheels.glob("*.whl"):
                contents = _contents(wheel)
                _check(arrival, contents, owned)
                if contents.is_plugin:
                    owned |= dict.fromkeys(map(str.lower, contents.modules), arrival.name)
    return [arrival.name for arrival in arrivals]


def installed_modules(distribution: str) -> frozenset[str]:
    """The top-level modules of an installed distribution, in lower case."""
    try:
        files = metadata.distribution(distribution).files or ()
    except metadata.PackageNotFoundError:
        files = ()
    named = {entry.value.partition(".")[0] for entry in discover(GROUP) if entry.distribution == distribution}
    return frozenset(name.lower() for name in {*_modules(map(str, files)), *named})


def owned_modules() -> dict[str, str]:
    """Modules that no other distribution may overwrite: the top-level modules of condgen and of plugins, in lower case, with
    their owners."""
    owned: dict[str, str] = {}
    for entry in sorted(discover(GROUP), key=lambda entry: entry.distribution != DISTRIBUTION):
        modules = {entry.value.partition(".")[0].lower()}
        if entry.distribution != DISTRIBUTION:
            modules |= installed_modules(entry.distribution)
        for module in modules:
            owned.setdefault(module, entry.distribution)
    return {**owned, CORE_PACKAGE: DISTRIBUTION}


class _Arrival(NamedTuple):
    """A distribution that pip would install, its source, and the folder if it is a local one."""

    name: str
    version: str
    source: str
    folder: Path | None

    @classmethod
    def of(cls, item: dict[str, Any]) -> _Arrival:
        described, came = item["metadata"], item["download_info"]
        url = came["url"]
        if vcs := came.get("vcs_info"):
            url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
        elif came.get("subdirectory"):
            url = f"{url}#subdirectory={came['subdirectory']}"
        folder = Path(url2pathname(urlsplit(url).path)) if "dir_info" in came else None
        return cls(normalize_name(described["name"]), described["version"], f"{described['name']} @ {url}", folder)


@contextmanager
def _remove_build_files(folder: Path | None) -> Iterator[None]:
    """Remove the build files that setuptools leaves in a source folder."""
    found = set(folder.iterdir()) if folder else set()
    try:
        yield
    finally:
        for path in set(folder.iterdir()) - found if folder else ():
            if path.name == "build" or path.suffix == ".egg-info":
                shutil.rmtree(path, ignore_errors=True)


def _check(arrival: _Arrival, contents: Contents, owned: Mapping[str, str]) -> None:
    for module in sorted(contents.modules):
        owner = owned.get(module.lower(), arrival.name)
        if owner != arrival.name:
            whose = "condgen's own" if owner == DISTRIBUTION else f"that of {owner}"
            raise PluginError(
                f"nothing was installed: {arrival.name} {arrival.version} contains a module {module}, which is {whose}",
                "its author has to give the package another name",
            )
    if DISTRIBUTION in contents.scripts:
        message = f"nothing was installed: {arrival.name} {arrival.version} contains a command {DISTRIBUTION}, condgen's own"
        raise PluginError(message, "its author has to give the command another name")


def _contents(wheel: Path) -> Contents:
    entry_points = ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        for name in names:
            if name.endswith(".dist-info/entry_points.txt") and name.count("/") == 1:
                with suppress(ConfigError):
                    entry_points.read_string(archive.read(name).decode("utf-8", "replace"))
    scripts = {PurePosixPath(name).name for name in names if ".data/scripts/" in name}
    for section in ("console_scripts", "gui_scripts"):
        if section in entry_points:
            scripts |= set(entry_points[section])
    scripts = {name.lower().removesuffix(".exe") for name in scripts}
    return Contents(frozenset(_modules(names)), frozenset(scripts), GROUP in entry_points)


def _modules(files: Iterable[str]) -> Iterator[str]:
    """The top-level modules among files given relative to site-packages, or within a wheel."""
    for file in files:
        parts = file.split("/")
        if parts[0].endswith(".data"):
            below = next((index for index, part in enumerate(parts) if part in _PLACES), len(parts))
            parts = parts[below + 1 :] or [""]
        if parts[0].endswith((".data", ".dist-info", ".egg-info", ".pth")) or parts[0] in ("..", "__pycache__", ""):
            continue
        name = parts[0] if len(parts) > 1 else parts[0].partition(".")[0]
        if name.isidentifier() and (len(parts) > 1 or parts[0].endswith((".py", ".so", ".pyd"))):
            yield name


def _shared_options(arguments: Sequence[str]) -> list[str]:
    """Those options of ``pip install`` that apply to ``pip wheel`` as well."""
    found: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, _ = argument.partition("=")
        if name in _SHARED_FLAGS or (name in _SHARED_VALUES and equals):
            found.append(argument)
        elif name in _SHARED_VALUES and rest:
            found += [argument, rest.pop(0)]
    return found


def _pip_hint() -> str:
    """The hint for an environment without pip."""
    if Path(sys.prefix, "uv-receipt.toml").exists():
        return "uv tool install condgen --with PLUGIN"
    return f"{sys.executable} -m ensurepip"
