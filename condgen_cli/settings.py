"""The settings of this process, from global options and environment variables."""

from __future__ import annotations

import os
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from condgen_cli.errors import CondgenError, UsageError

__all__ = [
    "RUNS",
    "Settings",
    "clear_command_cache",
    "command_cache",
    "current",
    "debugging",
    "expand_home",
    "plugins_enabled",
    "store_folder",
    "use",
]

RUNS = Path("runs")
"""The folder that training writes its runs into, unless the user names another."""

_ON = frozenset({"1", "true", "yes", "on"})
_OFF = frozenset({"", "0", "false", "no", "off"})


def _offline() -> bool:
    value = os.environ.get("CONDGEN_OFFLINE", "")
    word = value.strip().lower()
    if word not in _ON | _OFF:
        raise UsageError(f"CONDGEN_OFFLINE is {value!r}, neither on nor off", "CONDGEN_OFFLINE=1 or CONDGEN_OFFLINE=0")
    return word in _ON


@dataclass(frozen=True)
class Settings:
    """Global options.

    Args:
        offline: whether network access is forbidden (``--offline``, ``CONDGEN_OFFLINE``).
        zoos: further manifests, as paths or URLs, searched before the bundled one (``--zoo``, ``CONDGEN_ZOO``).
        plugins: whether third-party plugins are loaded (``--no-plugins`` keeps the built-in ones).
        debug: whether tracebacks are shown (``--debug``).
        trusts_code: whether code named by a recipe, a run or a manifest may be imported (``--trust-code``).
        home: the store's folder; None: that of ``CONDGEN_HOME``, else one in the platform's cache folder. It is resolved only
            by ``store_folder``, since many commands need none.
    Raises:
        UsageError: if an environment variable has an invalid value.
    """

    offline: bool = field(default_factory=_offline)
    zoos: tuple[str, ...] = field(default_factory=lambda: tuple(filter(None, [os.environ.get("CONDGEN_ZOO")])))
    plugins: bool = True
    debug: bool = False
    trusts_code: bool = False
    home: Path | None = None


_settings: ContextVar[Settings | None] = ContextVar("condgen_settings", default=None)
_command_cache: ContextVar[dict[object, object] | None] = ContextVar("condgen_command_cache", default=None)


def current() -> Settings:
    """The current settings; read from the environment if no command line set any."""
    return _settings.get() or Settings()


def plugins_enabled() -> bool:
    """``current().plugins``, without reading environment variables, so that it can't fail."""
    settings = _settings.get()
    return settings is None or settings.plugins


def debugging() -> bool:
    """``current().debug``, without reading environment variables, so that it can't fail while an error is handled."""
    settings = _settings.get()
    return settings is not None and settings.debug


def use(settings: Settings) -> None:
    _settings.set(settings)


def store_folder() -> Path:
    """The folder for downloads, which may not exist yet.

    Raises:
        CondgenError: if there is no home directory, as for a container's user without an account.
        UsageError: if ``CONDGEN_HOME`` is invalid.
    """
    if given := current().home:
        return given
    if home := os.environ.get("CONDGEN_HOME"):
        return expand_home(home, "CONDGEN_HOME")
    from platformdirs import user_cache_path

    try:
        folder = user_cache_path("condgen")
    except (RuntimeError, KeyError, OSError):
        folder = Path()
    if not folder.is_absolute():
        raise CondgenError("there is no home directory to keep downloads in", "set CONDGEN_HOME to a folder")
    return folder


def expand_home(path: str | Path, name: str) -> Path:
    """Expand ``~`` or ``~user`` at the beginning of a path.

    Args:
        name: the name of the path's setting, for the error.
    Raises:
        UsageError: if there is no such home directory.
    """
    try:
        return Path(path).expanduser()
    except (RuntimeError, KeyError):
        user = Path(path).parts[0]
        raise UsageError(f"{name} {path}: there is no home directory {user}", "write the whole path") from None


def command_cache() -> dict[object, object]:
    """The cache of the running command, such as the manifests that it has fetched; outside of a command, always empty."""
    found = _command_cache.get()
    return {} if found is None else found


def clear_command_cache() -> None:
    """Start a command with an empty cache."""
    _command_cache.set({})
