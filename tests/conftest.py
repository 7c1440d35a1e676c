"""Fixtures that tests of several parts share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import hypothesis
import pytest

from condgen_cli import settings
from condgen_cli.files import inputs

Condgen = Callable[..., subprocess.CompletedProcess[str]]
MakePlugin = Callable[..., None]

# A busy machine may take a second for what takes a millisecond: speed is measured in benchmarks, not here.
hypothesis.settings.register_profile("condgen", deadline=None)
hypothesis.settings.load_profile("condgen")


@pytest.fixture(autouse=True, scope="session")
def _interrupts() -> None:
    """A shell that starts pytest in the background has it ignore SIGINT; tests of interruption need it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    """What one test reads is nothing that the next may not write, and its settings are its own."""
    yield
    inputs._inputs.set(None)
    settings._settings.set(None)


@pytest.fixture
def plugin_folder(tmp_path: Path) -> Path:
    """A folder that ``condgen`` finds plugins in."""
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def make_plugin(plugin_folder: Path) -> MakePlugin:
    """``make_plugin(name, source, entry=module)``: install a distribution of one module, without pip."""

    def make(name: str, source: str, *, entry: str | None = None, module: str | None = None) -> None:
        module = module or f"plug_{name}"
        (plugin_folder / f"{module}.py").write_text(dedent(source))
        metadata = plugin_folder / f"{name}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[condgen]\n{name} = {entry or module}\n")

    return make


@pytest.fixture
def condgen_env(tmp_path: Path, plugin_folder: Path) -> dict[str, str]:
    """The environment of a subprocess that sees the test's plugins and keeps its files to itself."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("CONDGEN_")}
    paths = os.pathsep.join([str(plugin_folder), *filter(None, [env.get("PYTHONPATH")])])
    return env | {"PYTHONPATH": paths, "CONDGEN_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def condgen(condgen_env: dict[str, str]) -> Condgen:
    """``condgen(*arguments)`` in a process of its own, as a user runs it."""

    def run(*arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "condgen_cli", *arguments]
        return subprocess.run(command, env=condgen_env, input=input, capture_output=True, text=True, timeout=120, check=False)

    return run
