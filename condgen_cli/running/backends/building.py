"""Calling the function of a plugin that builds a model."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from condgen_cli.errors import CondgenError, PluginError
from condgen_cli.files.validation import validation_message
from condgen_cli.registry.guard import describe_error, guard
from condgen_cli.registry.plugins import failed_plugin, manager
from condgen_cli.settings import debugging
from condgen_cli.specs import ModelSpec, resolve

if TYPE_CHECKING:
    from condgen_cli.running.bundle import Bundle

__all__ = ["call_builder", "find_spec"]


def find_spec(bundle: Bundle) -> ModelSpec:
    """The spec of a bundle's architecture.

    Raises:
        PluginError: if no plugin provides it.
    """
    spec = manager().models.get(bundle.architecture)
    if spec is None:
        plugin = bundle.entry.requires.plugin if bundle.entry else ""
        hint = f"condgen plugin install {plugin}" if plugin else "condgen plugin doctor"
        raise PluginError(f"{bundle.name} needs the architecture {bundle.architecture!r}, which no plugin provides", hint)
    return spec


def call_builder(reference: str, bundle: Bundle, *arguments: Any, within: AbstractContextManager[Any] | None = None) -> Any:
    """What a plugin's function makes of a bundle.

    Args:
        reference: the function, ``module:name``.
        bundle: the bundle, whose config and files are its first arguments.
        arguments: its further arguments.
        within: a block that it is called in.
    Raises:
        PluginError: if it fails.
        CondgenError: that it raises.
    """
    builder = resolve(reference)
    try:
        with guard(), within or nullcontext():
            return builder(bundle.config, bundle.files, *arguments)
    except CondgenError:
        raise
    except Exception as error:
        if debugging():
            raise
        if isinstance(error, ImportError) and (failure := failed_plugin(error)):
            raise failure from error
        reason = validation_message(error) if isinstance(error, ValidationError) else describe_error(error)
        message = f"the plugin of {bundle.architecture!r} can't build {bundle.name}: {reason}"
        raise PluginError(message) from error
