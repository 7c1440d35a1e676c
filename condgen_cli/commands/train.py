"""``condgen train``, and ``condgen recipe``: the recipes that plugins bring."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from condgen_cli import console
from condgen_cli.errors import UsageError
from condgen_cli.files import write_whole
from condgen_cli.options import DataDirOpt, Device, DeviceOpt, ReportFormat, ReportFormatOpt, SetOpt

if TYPE_CHECKING:
    from condgen_cli.training import Summary

__all__ = ["recipe", "train"]

recipe = typer.Typer(no_args_is_help=True)

RecipeArg = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A TOML file, a run's folder, or a name; see condgen recipe ls.")
]
OverridesArg = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY.PATH=VALUE…]", help="Settings that differ, such as training.epochs=20.")
]


def train(
    recipe: RecipeArg,
    overrides: OverridesArg = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Start anew where a run has been.")] = False,
    data_dir: DataDirOpt = None,
    settings: SetOpt = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="The run's folder.  [default: runs/NAME]")
    ] = None,
    device: DeviceOpt = Device.auto,
    format: ReportFormatOpt = ReportFormat.text,
) -> None:
    """Train a model from a recipe; interrupted, it goes on with --resume as if nothing had happened."""
    from condgen_cli.data.store import parse_options
    from condgen_cli.training import RunDirectory, build_experiment, find_recipe, is_main_process, parse_recipe
    from condgen_cli.training import train as run_training

    parse_options(settings or ())
    given = [*(overrides or ()), *(f"data.options.{setting}" for setting in settings or ())]
    resolved = parse_recipe(*find_recipe(recipe), given)
    run_dir = output or (Path(recipe) if resume and Path(recipe).is_dir() else Path("runs") / resolved.name)
    run = RunDirectory(run_dir)
    run.check(resolved, resume, force)
    if resume and data_dir is None:
        data_dir = run.data_dir
    experiment = build_experiment(resolved, data_dir, run_dir)
    summary = run_training(resolved, experiment, run_dir, resume, force=force, device=device.value, data_dir=data_dir)
    if not is_main_process():
        return
    print(json.dumps(summary.as_json()) if format is ReportFormat.json else _report(summary))


@recipe.command("ls")
def ls(format: ReportFormatOpt = ReportFormat.text) -> None:
    """List the recipes that come with condgen and its plugins."""
    from condgen_cli.plugins import manager

    specs = sorted(manager().recipes.values(), key=lambda spec: (spec.task, spec.name))
    if format is ReportFormat.json:
        print(json.dumps({"recipes": [{"name": spec.name, "task": spec.task, "help": spec.help} for spec in specs]}))
        return
    from condgen_cli.render.tables import table

    rows = [[spec.name, spec.task, spec.help] for spec in specs]
    print(table(["recipe", "task", "what"], rows, color=console.use_color(), width=console.width()))


@recipe.command("show")
def show(name: RecipeArg, overrides: OverridesArg = None, format: ReportFormatOpt = ReportFormat.text) -> None:
    """Print a recipe as written; with overrides or --format json, with every setting that applies."""
    from condgen_cli.training import find_recipe, parse_recipe

    text, file = find_recipe(name)
    resolved = parse_recipe(text, file, overrides or ())
    print((resolved.to_json() if overrides or format is ReportFormat.json else text).rstrip())


@recipe.command("copy")
def copy(
    name: RecipeArg,
    path: Annotated[Path | None, typer.Argument(metavar="[PATH]", help="The new file.  [default: ./NAME.toml]")] = None,
) -> None:
    """Copy a recipe, to be changed and given to condgen train."""
    from condgen_cli.training import find_recipe

    text, file = find_recipe(name)
    target = path or Path(file)
    if target.is_dir():
        target = target / file
    if target.exists():
        raise UsageError(f"{target} exists already", f"condgen recipe copy {name} PATH")
    write_whole(target, text.encode())
    print(target)


def _report(summary: Summary) -> str:
    reasons = {"epochs": "all epochs are done", "patience": f"{summary.metric} had stopped getting better"}
    best = "never a number" if summary.best is None else f"{summary.best:.4g} at step {summary.best_step}"
    facts = {
        "model": summary.run_dir,
        "stopped": f"after epoch {summary.epochs}, step {summary.steps}: {reasons[summary.stopped]}",
        "best": f"{summary.metric} {best}",
        "dev": ", ".join(f"{name} {value:.4g}" for name, value in summary.dev.items()),
        "curve": summary.run_dir / "curve.png",
    }
    return "\n".join(f"{key:<8} {value}" for key, value in facts.items())
