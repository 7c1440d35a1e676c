"""Building the experiment that a recipe describes."""

from __future__ import annotations

from pathlib import Path

from condgen_cli.errors import PluginError, UsageError
from condgen_cli.files import protect, refuse_input
from condgen_cli.registry.guard import divert_stdout
from condgen_cli.training.experiment import Experiment
from condgen_cli.training.recipe import Recipe

__all__ = ["build_experiment", "find_experiment"]


@divert_stdout()
def build_experiment(recipe: Recipe, data_dir: Path | None, run_dir: Path) -> Experiment:
    """Seed all random number generators, then build the experiment of the recipe's architecture.

    Raises:
        NotFoundError: if no plugin has the architecture.
        UsageError: if the architecture belongs to another task or can't be trained, or if the run would overwrite its inputs.
        PluginError: if the plugin registers something other than a subclass of ``Experiment``.
    """
    from accelerate.utils import set_seed

    _protect_sources(recipe, data_dir)
    refuse_input(run_dir)
    kind = find_experiment(recipe)
    if recipe.init:
        _check_task(recipe.init, recipe.task)
    set_seed(recipe.seed)
    return kind(recipe, data_dir)


def find_experiment(recipe: Recipe) -> type[Experiment]:
    """What trains a recipe's architecture.

    Raises:
        NotFoundError: if no plugin has the architecture.
        UsageError: if it belongs to another task or can't be trained.
        PluginError: if the plugin gives something else than an experiment.
    """
    from condgen_cli.registry.plugins import manager
    from condgen_cli.specs import look_up, resolve

    spec = look_up(manager().models, "architecture", recipe.model.architecture)
    if spec.task != recipe.task:
        raise UsageError(f"architecture {spec.name} is for the task {spec.task}, the recipe says {recipe.task}")
    if not spec.experiment:
        raise UsageError(f"architecture {spec.name} can't be trained")
    kind = resolve(spec.experiment)
    if not (isinstance(kind, type) and issubclass(kind, Experiment)):
        reason = f"{spec.experiment} is not a subclass of condgen_cli.training.Experiment, so {spec.name} can't be trained"
        raise PluginError(reason, "condgen plugin doctor")
    return kind


def _check_task(init: str, task: str) -> None:
    from condgen_cli.training.library import initial_bundle

    found = initial_bundle(init).task
    if found != task:
        raise UsageError(f"recipe: init: {init} is a model for {found}, not for {task}", "condgen list")


def _protect_sources(recipe: Recipe, data_dir: Path | None) -> None:
    """Protect the inputs of a training run, its data and its initial model, from being overwritten by the run."""
    from condgen_cli.data.store import present_root
    from condgen_cli.registry.plugins import manager

    spec = manager().datasets.get(recipe.data.dataset)
    root = None if spec is None or spec.generated else present_root(spec, data_dir)
    for source in (data_dir, root, recipe.init, *recipe.data.options.values()):
        if isinstance(source, str | Path) and str(source):
            protect(Path(source).expanduser())
