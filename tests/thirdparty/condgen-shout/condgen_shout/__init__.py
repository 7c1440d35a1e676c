"""Every hook once."""

from condgen_cli.hookspecs import hookimpl
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
    Option,
    RecipeSpec,
    TaskSpec,
)

CONDGEN_API = "2"


@hookimpl
def condgen_register_tasks():
    return [TaskSpec("shout", "Say it in capitals.", "condgen_shout.cli:shout", "condgen_shout.task:read", ("loudness",))]


@hookimpl
def condgen_register_models():
    return [ModelSpec("shouter", "shout", "condgen_shout.model:build", help="Nothing learned.")]


@hookimpl
def condgen_register_model_sources():
    return [ModelSourceSpec("shelf", "condgen_shout.shelf:Shelf", help="Models that lie in this package.")]


@hookimpl
def condgen_register_datasets():
    options = {"mood": Option("Which words.", "calm", ("calm", "angry"))}
    return [DatasetSpec("shouts", "shout", "Words and their capitals.", "condgen_shout.task:dataset", ("test",), options)]


@hookimpl
def condgen_register_metrics():
    return [MetricSpec(("loudness",), "condgen_shout.task:Loudness", "share of capitals, percent")]


@hookimpl
def condgen_register_match_functions():
    return [MatchFunctionSpec("shout-distance", "condgen_shout.model:DistanceMatch", "-|Wh - z|²")]


@hookimpl
def condgen_register_recipes():
    return [RecipeSpec("shout-recipe", "shout", "condgen_shout.recipes", "shout.toml")]


@hookimpl
def condgen_register_comparisons():
    return [ComparisonSpec("shout-loudly", "shout", "condgen_shout.comparisons", "loudly.toml", "Moods of shouting.")]


@hookimpl
def condgen_register_inspectors():
    return [InspectorSpec("how-loud", "shouter", "condgen_shout.task:how_loud", "Whether it shouts.")]


@hookimpl
def condgen_register_manifests():
    return [ManifestSpec("shouts", "condgen_shout")]


@hookimpl
def condgen_register_commands():
    return [CommandSpec("whisper", "Say it in small letters.", "condgen_shout.cli:whisper")]
