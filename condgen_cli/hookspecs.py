"""The contract with plugins: any of these hooks, each returning a list of specs.

Entry-point group ``condgen``; a plugin's module says ``CONDGEN_API = "2"``.
"""

from __future__ import annotations

import pluggy

from condgen_cli.specs import (
    CommandSpec,
    ComparisonSpec,
    DatasetSpec,
    InspectorSpec,
    ManifestSpec,
    MatchFunctionSpec,
    MetricSpec,
    ModelSpec,
    RecipeSpec,
    TaskSpec,
)

API_VERSION = "2"
OLDER_VERSIONS = ("1",)
"""Whose plugins are loaded as far as they use what has stayed."""
GROUP = "condgen"

hookspec = pluggy.HookspecMarker("condgen")
hookimpl = pluggy.HookimplMarker("condgen")


@hookspec
def condgen_register_tasks() -> list[TaskSpec]:  # type: ignore[empty-body]
    """Tasks, each with its command."""


@hookspec
def condgen_register_models() -> list[ModelSpec]:  # type: ignore[empty-body]
    """Architectures, by the name that manifests and recipes use."""


@hookspec
def condgen_register_datasets() -> list[DatasetSpec]:  # type: ignore[empty-body]
    """Data sets for training and evaluation."""


@hookspec
def condgen_register_metrics() -> list[MetricSpec]:  # type: ignore[empty-body]
    """Metrics beyond the core's."""


@hookspec
def condgen_register_match_functions() -> list[MatchFunctionSpec]:  # type: ignore[empty-body]
    """Match functions for any attention model."""


@hookspec
def condgen_register_recipes() -> list[RecipeSpec]:  # type: ignore[empty-body]
    """Training recipes that ship with the plugin."""


@hookspec
def condgen_register_comparisons() -> list[ComparisonSpec]:  # type: ignore[empty-body]
    """Comparisons of variants that ship with the plugin."""


@hookspec
def condgen_register_inspectors() -> list[InspectorSpec]:  # type: ignore[empty-body]
    """Looks inside models, as flags of ``condgen inspect``."""


@hookspec
def condgen_register_manifests() -> list[ManifestSpec]:  # type: ignore[empty-body]
    """Zoos that the plugin brings."""


@hookspec
def condgen_register_commands() -> list[CommandSpec]:  # type: ignore[empty-body]
    """Further top-level commands."""
