"""Finding a recipe or an initial model by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from condgen_cli.errors import NotFoundError
from condgen_cli.files import protect
from condgen_cli.registry.plugins import manager
from condgen_cli.settings import RUNS
from condgen_cli.specs import RecipeSpec, look_up, package_text
from condgen_cli.terminal.suggestions import near_names
from condgen_cli.training.stages import read_description, read_text

if TYPE_CHECKING:
    from condgen_cli.running.bundle import Bundle

__all__ = ["describe_recipe", "find_recipe", "initial_bundle"]

RECIPE_FILE = "recipe.json"


def find_recipe(source: str) -> tuple[str, str]:
    """The text of a recipe and the name of its file.

    Args:
        source: path of a file (``.toml`` or ``.json``), folder of a run, or name of a plugin's recipe.
    Raises:
        NotFoundError: if it is none of them.
        PluginError: if the plugin's file can't be read.
    """
    path = Path(source)
    if path.is_dir() and (path / RECIPE_FILE).is_file():
        path = path / RECIPE_FILE
    if path.is_file() and path.name != RECIPE_FILE:  # not a run's: it is rewritten as the run goes on
        protect(path)
    if path.is_file() or path.suffix in (".toml", ".json") or os.sep in source:
        return read_text(path), path.name
    spec = look_up(manager().recipes, "recipe", source)
    return package_text(spec.package, spec.file, f"the recipe {source}"), spec.file


def describe_recipe(spec: RecipeSpec) -> str:
    """The one-line description of a plugin's recipe, from its file or else from its spec.

    Raises:
        PluginError: if the file can't be read.
    """
    return read_description(package_text(spec.package, spec.file, f"the recipe {spec.name}")) or spec.help


def initial_bundle(name: str) -> Bundle:
    """The model that training starts from: a zoo model, the folder of a run, or the run of a recipe.

    Raises:
        NotFoundError, IntegrityError, NetworkError: as ``condgen_cli.load``.
    """
    from condgen_cli.running.bundle import find_bundle

    try:
        return find_bundle(name)
    except NotFoundError as error:
        raise _missing_start(name, error) from None


def _missing_start(name: str, error: NotFoundError) -> NotFoundError:
    """The error for an initial model that doesn't exist; it lists the models, recipes and runs that do.

    Args:
        name: value of ``init``.
        error: error of the search for a model of that name.
    """
    recipes = manager().recipes
    base = os.path.basename(os.path.normpath(name))
    if os.sep in name:
        return NotFoundError(error.message, f"condgen train {base}" if base in recipes else error.hint)
    if name in recipes:
        return NotFoundError(f"the recipe {name} has no model in the zoo and no run in {RUNS / name}", f"condgen train {name}")
    runs = sorted(path.parent.name for path in RUNS.glob("*/model.json"))
    found = [
        *([f"models: {error.hint.partition(': ')[2]}"] if error.hint else []),
        *(f"{kind}: {', '.join(names)}" for kind, names in (("recipes", near_names(name, recipes)), ("runs", runs)) if names),
    ]
    return NotFoundError(f"no model, recipe or run is called {name!r}", "; ".join(found) or None)
