"""The recipes and experiments that come with condgen: that their settings are some, without the data that they need."""

from __future__ import annotations

from importlib.resources import files
from itertools import chain
from pathlib import Path

import pytest

from condgen_cli.data.store import check_options, dataset_spec
from condgen_cli.errors import CondgenError, NotFoundError
from condgen_cli.experiments.definition import find_experiment, parse_experiment
from condgen_cli.experiments.run import plan, scoring_of
from condgen_cli.plugins import manager
from condgen_cli.training import Recipe, build_experiment, parse_recipe
from condgen_cli.training.library import find_recipe
from condgen_cli.zoo import open_zoo


def make(recipe: Recipe, folder: Path) -> None:
    """Make the recipe's experiment, all of whose sections are checked before it misses its data or what it goes on from.

    Nothing else may be missing: a name that no plugin brings is an error here as it is for a user.
    """
    nowhere = folder / "nowhere"
    check_names(recipe)
    try:
        build_experiment(recipe, nowhere, folder)
    except NotFoundError as error:
        if str(nowhere) not in error.message and str(recipe.init) not in error.message:
            raise


def check_names(recipe: Recipe) -> None:
    """Data sets, with their options, and models that training begins with exist; runs are those of recipes."""
    data = recipe.data.options
    further = [{"dataset": more} if isinstance(more, str) else more for more in data.get("more", [])]
    for part in [{"dataset": recipe.data.dataset, "options": data.get("options", {})}, *further]:
        check_options(dataset_spec(part["dataset"]), part.get("options", {}))
    for name in filter(None, [recipe.init, data.get("language_model")]):
        run, _, rest = name.partition("/")
        assert rest in manager().recipes if run == "runs" else open_zoo().entry(name), name


@pytest.mark.parametrize(
    "misspelt",
    ["model.architecture=captoin", "data.dataset=flickr8", "init=efficientnet-lite7", "init=runs/satt", "data.options.size=1"],
)
def test_a_misspelt_name_is_found(misspelt: str, tmp_path: Path) -> None:
    recipe = parse_recipe(*find_recipe("sat"), [misspelt])
    with pytest.raises((CondgenError, AssertionError)):
        make(recipe, tmp_path)


@pytest.mark.parametrize("name", manager().recipes)
def test_recipes(name: str, tmp_path: Path) -> None:
    make(parse_recipe(*find_recipe(name), ()), tmp_path)


def test_every_file_is_registered_and_every_first_part_is_a_recipe() -> None:
    specs = [*manager().recipes.values(), *manager().experiments.values()]
    beside = chain.from_iterable(files(package).iterdir() for package in {spec.package for spec in specs})
    assert {spec.file for spec in specs} == {path.name for path in beside if path.name.endswith(".toml")}
    inits = [parse_recipe(*find_recipe(name), ()).init for name in manager().recipes]
    assert {Path(init).name for init in inits if init and init.startswith("runs/")} <= manager().recipes.keys()


@pytest.mark.parametrize("name", manager().experiments)
def test_experiments(name: str, tmp_path: Path) -> None:
    experiment = parse_experiment(*find_experiment(name))
    runs = plan(experiment, tmp_path)
    assert scoring_of(experiment.evaluate, runs).metrics
    for run in {run.label: run for run in runs}.values():  # seeds change nothing
        make(run.recipe, tmp_path)
