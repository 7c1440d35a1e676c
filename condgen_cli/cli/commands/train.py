"""``condgen train``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from condgen_cli.cli.commands.recipe import OverridesArg, RecipeArg
from condgen_cli.options import DataDirOpt, Device, DeviceOpt, ReportFormat, ReportFormatOpt, SetOpt
from condgen_cli.settings import RUNS

if TYPE_CHECKING:
    from condgen_cli.training import Recipe
    from condgen_cli.training.staged import StagesSummary

__all__ = ["train"]


def train(
    recipe: RecipeArg,
    overrides: OverridesArg = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the run's last checkpoint; what is done is not done again.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Start anew where a run has been.")] = False,
    stage: Annotated[
        str | None, typer.Option("--stage", metavar="NAME|N", help="Train one stage of the recipe, from what is there.")
    ] = None,
    processes: Annotated[
        int, typer.Option("--processes", min=1, help="Train in so many processes on this machine.", show_default=False)
    ] = 1,
    data_dir: DataDirOpt = None,
    settings: SetOpt = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="The run's folder.  [default: runs/NAME]")
    ] = None,
    device: DeviceOpt = Device.auto,
    format: ReportFormatOpt = ReportFormat.text,
) -> None:
    """Train a model from a recipe, all of its stages; interrupted, it goes on with --resume as if nothing had happened."""
    from condgen_cli.data.store import parse_options
    from condgen_cli.training import find_recipe, is_main_process, parse_stages, train_stages

    parse_options(settings or ())
    given = [*(overrides or ()), *(f"data.options.{setting}" for setting in settings or ())]
    stages = parse_stages(*find_recipe(recipe), given, first=stage)
    only = None if stage is None else stages.find(stage)
    run_dir = output or (Path(recipe) if (resume or only) and Path(recipe).is_dir() else RUNS / stages.name)
    if processes > 1:
        from condgen_cli.cli.processes import run_processes

        own = ["--data-dir", str(data_dir)] if data_dir else []
        own += [*(["--resume"] if resume else []), *(["--force"] if force else []), *(["--stage", stage] if stage else [])]
        own += [part for setting in settings or () for part in ("--set", setting)]
        own += ["-o", str(run_dir), "--device", device.value, "--format", format.value, "--", recipe, *(overrides or ())]
        raise typer.Exit(run_processes([*_global_options(), "train", *own], processes))
    if stages.single:
        summary, text = _train_single(stages.stages[0].recipe, run_dir, resume, force, device.value, data_dir)
    else:
        ended = train_stages(stages, run_dir, resume, force=force, only=only, device=device.value, data_dir=data_dir)
        summary, text = ended.as_json(), _report_stages(ended)
    if is_main_process():
        print(json.dumps(summary) if format is ReportFormat.json else text)


def _train_single(
    recipe: Recipe, run_dir: Path, resume: bool, force: bool, device: str, data_dir: Path | None
) -> tuple[dict[str, Any], str]:
    """Train what has no stages: the summary as JSON and as text."""
    from condgen_cli.training import RunDirectory, build_experiment
    from condgen_cli.training import train as run_training

    run = RunDirectory(run_dir)
    run.check(recipe, resume, force)
    if resume and data_dir is None:
        data_dir = run.data_dir
    experiment = build_experiment(recipe, data_dir, run_dir)
    summary = run_training(recipe, experiment, run_dir, resume, force=force, device=device, data_dir=data_dir).as_json()
    return summary, _table({"model": run_dir, **_facts(summary), "curve": run_dir / "curve.png"})


def _global_options() -> list[str]:
    """The options before the command that a worker needs too; what comes from the environment, it has."""
    from condgen_cli import settings

    current = settings.current()
    flags = {
        "--offline": current.offline,
        "--no-plugins": not current.plugins,
        "--trust-code": current.trusts_code,
        "--debug": current.debug,
    }
    zoos = [part for zoo in current.zoos for part in ("--zoo", zoo)]
    return [*(flag for flag, on in flags.items() if on), *zoos]


def _facts(summary: Mapping[str, Any]) -> dict[str, str]:
    metric = summary["metric"]
    reasons = {"epochs": "all epochs are done", "patience": f"{metric} had stopped getting better"}
    best = "never a number" if summary["best"] is None else f"{summary['best']:.4g} at step {summary['best_step']}"
    dev = (f"{name} {'nan' if value is None else format(value, '.4g')}" for name, value in summary["dev"].items())
    return {
        "stopped": f"after epoch {summary['epochs']}, step {summary['steps']}: {reasons[summary['stopped']]}",
        "best": f"{metric} {best}",
        "dev": ", ".join(dev),
    }


def _report_stages(ended: StagesSummary) -> str:
    stages = []
    for name, summary in ended.stages:
        facts = _facts(summary)
        stages.append((name, f"{facts['best']}; {facts['stopped']}"))
    last = _facts(ended.stages[-1][1])
    return _table([("model", ended.run_dir), *stages, ("dev", last["dev"])])


def _table(facts: Mapping[str, object] | Iterable[tuple[str, object]]) -> str:
    rows = list(facts.items()) if isinstance(facts, Mapping) else list(facts)
    width = max(8, *(len(key) for key, _ in rows))
    return "\n".join(f"{key:<{width}} {value}" for key, value in rows)
