"""Problems of plugins' zoos: zoos that can't be read, and models that are hidden by another zoo."""

from __future__ import annotations

from collections.abc import Iterator

from condgen_cli import settings
from condgen_cli.errors import CondgenError
from condgen_cli.registry.plugin_problems import Problem
from condgen_cli.registry.plugins import Plugins
from condgen_cli.zoo.sources import Source, bundled_source, plugin_zoos
from condgen_cli.zoo.store import Store

__all__ = ["zoo_problems"]


def zoo_problems(plugins: Plugins) -> Iterator[Problem]:
    """Problems of plugins' zoos, for ``condgen plugin doctor``; remote zoos are read."""
    current = settings.current()
    taken = dict.fromkeys(bundled_source().names, "condgen")
    zoos = sorted(plugin_zoos(plugins, current, Store(current.home)), key=lambda zoo: zoo[1].remote)
    for name, zoo in zoos:
        module = next((plugin.module for plugin in plugins.plugins if plugin.name == name), None)
        where = getattr(module, "__file__", None) or ""
        try:
            source = zoo.read(False)
        except CondgenError as error:
            yield Problem(name, f"its zoo {zoo.name} can't be used: {error.message}", error.hint or "correct it", where)
            continue
        for model, owner in _hidden_names(source, taken):
            message = f"the model name {model!r} of its zoo {zoo.name} is taken by {owner}: it is left out"
            yield Problem(name, message, "give it another name", where)
        for model in source.names:
            taken.setdefault(model, zoo.name)


def _hidden_names(source: Source, taken: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Names of the source's models that are taken, with their owners; if an id is taken, its aliases are left out."""
    for entry in source.manifest.entries:
        for name in [entry.id] if entry.id in taken else entry.aliases:
            if name in taken:
                yield name, taken[name]
