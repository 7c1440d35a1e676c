"""What the global options and environment variables say, for this process."""

from __future__ import annotations

import os
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Settings", "current", "plugins_enabled", "use"]


def _home() -> Path:
    if home := os.environ.get("CONDGEN_HOME"):
        return Path(home).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("condgen")


@dataclass(frozen=True)
class Settings:
    """Global options.

    Args:
        offline: never open a connection.
        zoos: further manifests, as paths or URLs, searched before the bundled one (``--zoo``, ``CONDGEN_ZOO``).
        plugins: whether third-party plugins are loaded (``--no-plugins`` keeps the built-in ones).
        debug: show tracebacks.
        trusts_code: code that a recipe, a run or a manifest names may be imported (``--trust-code``).
        home: the store's folder (``CONDGEN_HOME``, default: the platform's cache folder).
    """

    offline: bool = field(default_factory=lambda: os.environ.get("CONDGEN_OFFLINE", "") not in ("", "0"))
    zoos: tuple[str, ...] = field(default_factory=lambda: tuple(filter(None, [os.environ.get("CONDGEN_ZOO")])))
    plugins: bool = True
    debug: bool = False
    trusts_code: bool = False
    home: Path = field(default_factory=_home)


_settings: ContextVar[Settings | None] = ContextVar("condgen_settings", default=None)


def current() -> Settings:
    """The settings in force; read from the environment if no command line set any."""
    return _settings.get() or Settings()


def plugins_enabled() -> bool:
    """``current().plugins``, which `condgen --help` asks for, without looking for the cache folder."""
    settings = _settings.get()
    return settings is None or settings.plugins


def use(settings: Settings) -> None:
    _settings.set(settings)
