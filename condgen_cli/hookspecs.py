"""The hooks that a plugin may implement, each returning a list of specs.

Plugins are found by the entry-point group ``condgen``; a plugin's module sets ``CONDGEN_API = "2"``.
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
    ModelSourceSpec,
    ModelSpec,
    RecipeSpec,
    TaskSpec,
)

API_VERSION = "2"
OLDER_VERSIONS = ("1",)
"""Older API versions whose plugins are still loaded, as far as what they use still exists."""
GROUP = "condgen"

hookspec = pluggy.HookspecMarker("condgen")
hookimpl = pluggy.HookimplMarker("condgen")


@hookspec
def condgen_register_tasks() -> list[TaskSpec]:  # type: ignore[empty-body]
    """Tasks; each becomes a command."""


@hookspec
def condgen_register_models() -> list[ModelSpec]:  # type: ignore[empty-body]
    """Model architectures, named as in manifests and recipes."""


@hookspec
def condgen_register_model_sources() -> list[ModelSourceSpec]:  # type: ignore[empty-body]
    """Sources of models from elsewhere, named ``SCHEME:MODEL`` or by a folder."""


@hookspec
def condgen_register_datasets() -> list[DatasetSpec]:  # type: ignore[empty-body]
    """Data sets for training and evaluation."""


@hookspec
def condgen_register_metrics() -> list[MetricSpec]:  # type: ignore[empty-body]
    """Further metrics."""


@hookspec
def condgen_register_match_functions() -> list[MatchFunctionSpec]:  # type: ignore[empty-body]
    """Match functions for any attention model."""


@hookspec
def condgen_register_recipes() -> list[RecipeSpec]:  # type: ignore[empty-body]
    """Training recipes that ship with the plugin."""


@hookspec
def condgen_register_comparisons() -> list[ComparisonSpec]:  # type: ignore[empty-body]
    """Comparisons of model variants that ship with the plugin."""


@hookspec
def condgen_register_inspectors() -> list[InspectorSpec]:  # type: ignore[empty-body]
    """Analyses of models, as flags of ``condgen inspect``."""


@hookspec
def condgen_register_manifests() -> list[ManifestSpec]:  # type: ignore[empty-body]
    """Model zoos."""


@hookspec
def condgen_register_commands() -> list[CommandSpec]:  # type: ignore[empty-body]
    """Further top-level commands."""
