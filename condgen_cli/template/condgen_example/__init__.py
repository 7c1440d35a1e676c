"""The specs that the plugin registers. Heavy parts are "module:attribute" references, imported when they are used."""

from __future__ import annotations

from condgen_cli.hookspecs import hookimpl
from condgen_cli.specs import DatasetSpec, MatchFunctionSpec, ModelSpec, RecipeSpec, TaskSpec

CONDGEN_API = "2"


@hookimpl
def condgen_register_tasks() -> list[TaskSpec]:
    return [
        TaskSpec(
            name="example",
            help="Write a word in capitals, letter by letter.",
            reader="condgen_example.task:read",
            metrics=("cer", "accuracy"),
            kinds=("text",),
            model="example",
            options=("search", "sampling", "force", "attention"),
        )
    ]


@hookimpl
def condgen_register_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            name="example",
            task="example",
            build="condgen_example.model:build",
            experiment="condgen_example.training:SpellerExperiment",
        )
    ]


@hookimpl
def condgen_register_datasets() -> list[DatasetSpec]:
    return [
        DatasetSpec(
            name="example-words",
            task="example",
            help="Random words and their capitals.",
            open="condgen_example.data:words",
            licence="CC0-1.0",
            generated=True,
        )
    ]


@hookimpl
def condgen_register_recipes() -> list[RecipeSpec]:
    return [RecipeSpec("example", "example", "condgen_example", "example.toml")]


@hookimpl
def condgen_register_match_functions() -> list[MatchFunctionSpec]:
    return [MatchFunctionSpec("example-distance", "condgen_example.match:DistanceMatch", "-|Wh - z|²: nearest scores highest")]
