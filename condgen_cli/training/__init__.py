"""Training: recipes, experiments (a model with its data and loss), and the loop that trains an experiment by a recipe."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from condgen_cli.training.build import build_experiment
    from condgen_cli.training.experiment import Experiment
    from condgen_cli.training.library import find_recipe
    from condgen_cli.training.loop import train
    from condgen_cli.training.objective import Objective
    from condgen_cli.training.options import DataOptions, Options
    from condgen_cli.training.recipe import Recipe, check
    from condgen_cli.training.run import RunDirectory
    from condgen_cli.training.schedule import sampling_probability
    from condgen_cli.training.staged import train_stages
    from condgen_cli.training.stages import Stage, Stages, parse_recipe, parse_stages, read_recipe
    from condgen_cli.training.summary import Interrupted, Summary
    from condgen_cli.training.together import is_main_process

__all__ = [
    "DataOptions",
    "Experiment",
    "Interrupted",
    "Objective",
    "Options",
    "Recipe",
    "RunDirectory",
    "Stage",
    "Stages",
    "Summary",
    "build_experiment",
    "check",
    "find_recipe",
    "is_main_process",
    "parse_recipe",
    "parse_stages",
    "read_recipe",
    "sampling_probability",
    "train",
    "train_stages",
]

_MODULES = {
    "build": ("build_experiment",),
    "experiment": ("Experiment",),
    "library": ("find_recipe",),
    "loop": ("train",),
    "objective": ("Objective",),
    "options": ("DataOptions", "Options"),
    "recipe": ("Recipe", "check"),
    "run": ("RunDirectory",),
    "schedule": ("sampling_probability",),
    "summary": ("Interrupted", "Summary"),
    "together": ("is_main_process",),
    "staged": ("train_stages",),
    "stages": ("Stage", "Stages", "parse_recipe", "parse_stages", "read_recipe"),
}


def __getattr__(name: str) -> Any:
    # Recipes are read without torch, which takes seconds to import.
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
