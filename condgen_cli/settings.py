"""What the global options and environment variables say, for this process."""

from __future__ import annotations

import os
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from condgen_cli.errors import CondgenError, UsageError

__all__ = [
    "RUNS",
    "Settings",
    "current",
    "debugging",
    "expanded",
    "forget_shared",
    "plugins_enabled",
    "shared",
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
        offline: never open a connection (``--offline``, ``CONDGEN_OFFLINE``).
        zoos: further manifests, as paths or URLs, searched before the bundled one (``--zoo``, ``CONDGEN_ZOO``).
        plugins: whether third-party plugins are loaded (``--no-plugins`` keeps the built-in ones).
        debug: show tracebacks.
        trusts_code: code that a recipe, a run or a manifest names may be imported (``--trust-code``).
        home: the store's folder; None: what ``CONDGEN_HOME`` names, else one in the platform's cache folder. Commands that keep
            no files need none, so it is looked for by ``store_folder`` only.
    Raises:
        UsageError: if an environment variable can't be understood.
    """

    offline: bool = field(default_factory=_offline)
    zoos: tuple[str, ...] = field(default_factory=lambda: tuple(filter(None, [os.environ.get("CONDGEN_ZOO")])))
    plugins: bool = True
    debug: bool = False
    trusts_code: bool = False
    home: Path | None = None


_settings: ContextVar[Settings | None] = ContextVar("condgen_settings", default=None)
_shared: ContextVar[dict[object, object] | None] = ContextVar("condgen_shared", default=None)


def current() -> Settings:
    """The settings in force; read from the environment if no command line set any."""
    return _settings.get() or Settings()


def plugins_enabled() -> bool:
    """``current().plugins``, which `condgen --help` asks for; it reads no environment variable."""
    settings = _settings.get()
    return settings is None or settings.plugins


def debugging() -> bool:
    """``current().debug``, for whoever handles errors: it reads no environment variable, so it can't fail."""
    settings = _settings.get()
    return settings is not None and settings.debug


def use(settings: Settings) -> None:
    _settings.set(settings)


def store_folder() -> Path:
    """The folder that downloads are kept in, which may not exist.

    Raises:
        CondgenError: if there is no home directory for it, as for a user of a container that has no account.
        UsageError: if ``CONDGEN_HOME`` can't be understood.
    """
    if given := current().home:
        return given
    if home := os.environ.get("CONDGEN_HOME"):
        return expanded(home, "CONDGEN_HOME")
    from platformdirs import user_cache_path

    try:
        folder = user_cache_path("condgen")
    except (RuntimeError, KeyError, OSError):
        folder = Path()
    if not folder.is_absolute():
        raise CondgenError("there is no home directory to keep downloads in", "set CONDGEN_HOME to a folder")
    return folder


def expanded(path: str | Path, name: str) -> Path:
    """A path whose ``~`` or ``~user`` at the beginning stands for a home directory.

    Args:
        name: of what holds the path, for the error.
    Raises:
        UsageError: if there is no such home directory.
    """
    try:
        return Path(path).expanduser()
    except (RuntimeError, KeyError):
        user = Path(path).parts[0]
        raise UsageError(f"{name} {path}: there is no home directory {user}", "write the whole path") from None


def shared() -> dict[object, object]:
    """What the parts of one command line share, such as the manifests that it has fetched; nothing outside of one."""
    found = _shared.get()
    return {} if found is None else found


def forget_shared() -> None:
    """Begin a command line, whose parts share nothing so far."""
    _shared.set({})
