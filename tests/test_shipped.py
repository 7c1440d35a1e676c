"""The recipes and experiments that come with condgen: that their settings are some, without the data that they need."""

from __future__ import annotations

from importlib.resources import files
from itertools import chain
from pathlib import Path

import pytest

from condgen_cli.comparisons.definition import find_comparison, parse_comparison
from condgen_cli.comparisons.run import plan, scoring_of
from condgen_cli.data.store import check_options, dataset_spec
from condgen_cli.errors import CondgenError, NotFoundError
from condgen_cli.registry.plugins import manager
from condgen_cli.training import Recipe, build_experiment, parse_stages
from condgen_cli.training.library import find_recipe
from condgen_cli.training.staged import check_names


def check(recipe: Recipe) -> None:
    """Make sure that a name which no plugin brings is an error here as it is for a user."""
    check_names(recipe)
    for more in recipe.data.options.get("more", []):
        part = {"dataset": more} if isinstance(more, str) else more
        check_options(dataset_spec(part["dataset"]), part.get("options", {}))


def make(recipe: Recipe, folder: Path) -> None:
    """Make the recipe's experiment, all of whose sections are checked before it misses its data, and nothing else."""
    nowhere = folder / "nowhere"
    check(recipe)
    try:
        build_experiment(recipe, nowhere, folder)
    except NotFoundError as error:
        if str(nowhere) not in error.message:
            raise


@pytest.mark.parametrize(
    "misspelt",
    [
        "model.architecture=captoin",
        "stages.3.model.architecture=captoin",
        "data.dataset=flickr8",
        "stages.encoder.data.dataset=flickr8",
        "init=efficientnet-lite7",
        "init=runs/satt",
        "stages.reward.init=satt",
        "data.options.size=1",
        "decoding.bean=3",
    ],
)
def test_a_misspelt_name_is_found(misspelt: str) -> None:
    def check_all() -> None:
        for stage in parse_stages(*find_recipe("sat"), [misspelt]).stages:
            check(stage.recipe)

    with pytest.raises(CondgenError):
        check_all()


@pytest.mark.parametrize("name", manager().recipes)
def test_recipes(name: str) -> None:
    """The names in a recipe are those of something; ``training/test_own_data.py`` trains every stage of it."""
    stages = parse_stages(*find_recipe(name))
    assert stages.description
    assert stages.name == name
    for stage in stages.stages:
        check(stage.recipe)


def test_every_file_is_registered() -> None:
    specs = [*manager().recipes.values(), *manager().comparisons.values()]
    beside = chain.from_iterable(files(package).iterdir() for package in {spec.package for spec in specs})
    assert {spec.file for spec in specs} == {path.name for path in beside if path.name.endswith(".toml")}


@pytest.mark.parametrize("name", manager().comparisons)
def test_experiments(name: str, tmp_path: Path) -> None:
    experiment = parse_comparison(*find_comparison(name))
    runs = plan(experiment, tmp_path)
    assert scoring_of(experiment.evaluate, runs).metrics
    for run in {run.label: run for run in runs}.values():  # seeds change nothing
        make(run.recipe, tmp_path)
