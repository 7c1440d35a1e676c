"""The recipes and experiments that come with condgen: that their settings are some, without the data that they need."""

from __future__ import annotations

from contextlib import suppress
from importlib.resources import files
from itertools import chain
from pathlib import Path

import pytest

from condgen_cli.errors import NotFoundError
from condgen_cli.experiments.definition import find_experiment, parse_experiment
from condgen_cli.experiments.run import plan, scoring_of
from condgen_cli.plugins import manager
from condgen_cli.training import Recipe, build_experiment, parse_recipe
from condgen_cli.training.library import find_recipe


def make(recipe: Recipe, folder: Path) -> None:
    """Make the recipe's experiment, all of whose sections are checked before it misses its data or what it goes on from."""
    with suppress(NotFoundError):
        build_experiment(recipe, folder / "nowhere", folder)


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
