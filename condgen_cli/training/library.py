"""Finding a recipe by what the user calls it."""

from __future__ import annotations

import os
from pathlib import Path

from condgen_cli.files import protect
from condgen_cli.plugins import manager
from condgen_cli.specs import RecipeSpec, named, package_text
from condgen_cli.training.stages import read_description, read_text

__all__ = ["describe_recipe", "find_recipe"]

RECIPE_FILE = "recipe.json"


def find_recipe(source: str) -> tuple[str, str]:
    """The text of a recipe and its file's name.

    Args:
        source: a file (``.toml`` or ``.json``), a run's directory, or the name of a plugin's recipe.
    Raises:
        NotFoundError: if it is none of them.
        PluginError: if the plugin's can't be read.
    """
    path = Path(source)
    if path.is_dir() and (path / RECIPE_FILE).is_file():
        path = path / RECIPE_FILE
    if path.is_file() and path.name != RECIPE_FILE:  # a run's own is written anew as the run goes on
        protect(path)
    if path.is_file() or path.suffix in (".toml", ".json") or os.sep in source:
        return read_text(path), path.name
    spec = named(manager().recipes, "recipe", source)
    return package_text(spec.package, spec.file, f"the recipe {source}"), spec.file


def describe_recipe(spec: RecipeSpec) -> str:
    """The line that describes a plugin's recipe: what its file says, or else the spec.

    Raises:
        PluginError: if the file can't be read.
    """
    return read_description(package_text(spec.package, spec.file, f"the recipe {spec.name}")) or spec.help
