"""``condgen recipe``: list, print, copy and check recipes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from condgen_cli.errors import UsageError
from condgen_cli.files import write_whole
from condgen_cli.options import DataDirOpt, ReportFormat, ReportFormatOpt, SetOpt
from condgen_cli.terminal import console

__all__ = ["OverridesArg", "RecipeArg", "app"]

app = typer.Typer(no_args_is_help=True)

RecipeArg = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A TOML file, a run's folder, or a name; see condgen recipe ls.")
]
OverridesArg = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY.PATH=VALUE…]", help="Settings to change, such as training.epochs=20.")
]


@app.command("ls")
def ls(format: ReportFormatOpt = ReportFormat.text) -> None:
    """List the recipes that come with condgen and its plugins."""
    from condgen_cli.registry.plugins import manager
    from condgen_cli.training.library import describe_recipe

    specs = sorted(manager().recipes.values(), key=lambda spec: (spec.task, spec.name))
    rows = [[spec.name, spec.task, describe_recipe(spec)] for spec in specs]
    if format is ReportFormat.json:
        print(json.dumps({"recipes": [dict(zip(("name", "task", "help"), row, strict=True)) for row in rows]}))
        return
    from condgen_cli.render.tables import table

    print(table(["recipe", "task", "what"], rows, color=console.use_color(), width=console.width()))


@app.command("show")
def show(name: RecipeArg, overrides: OverridesArg = None, format: ReportFormatOpt = ReportFormat.text) -> None:
    """Print a recipe as written; with overrides or --format json, with every setting that applies."""
    from condgen_cli.training import find_recipe, parse_stages

    text, file = find_recipe(name)
    resolved = parse_stages(text, file, overrides or ())
    print((resolved.to_json() if overrides or format is ReportFormat.json else text).rstrip())


@app.command("copy")
def copy(
    name: RecipeArg,
    path: Annotated[Path | None, typer.Argument(metavar="[PATH]", help="The new file.  [default: ./NAME.toml]")] = None,
) -> None:
    """Copy a recipe to a file, to edit it and pass it to condgen train."""
    from condgen_cli.training import find_recipe

    text, file = find_recipe(name)
    target = path or Path(file)
    if target.is_dir():
        target = target / file
    if target.exists():
        raise UsageError(f"{target} exists already", f"condgen recipe copy {name} PATH")
    write_whole(target, text.encode())
    print(target)


@app.command("check")
def check(
    name: RecipeArg,
    overrides: OverridesArg = None,
    data_dir: DataDirOpt = None,
    settings: SetOpt = None,
    format: ReportFormatOpt = ReportFormat.text,
) -> None:
    """Check before training that the data and settings of each stage are valid, and print its sizes and memory."""
    from dataclasses import asdict

    from condgen_cli.data.store import parse_options
    from condgen_cli.training import find_recipe, parse_stages
    from condgen_cli.training.checking import LIMIT, check_recipe

    parse_options(settings or ())
    given = [*(overrides or ()), *(f"data.options.{setting}" for setting in settings or ())]
    stages = parse_stages(*find_recipe(name), given)
    checks = check_recipe(stages, data_dir)
    if format is ReportFormat.json:
        print(json.dumps({"name": stages.name, "task": stages.task, "stages": [asdict(check) for check in checks]}))
        return
    from condgen_cli.render.tables import table

    rows = []
    for one in checks:
        about = "" if one.exact else "about "
        train, dev = ("made" if count is None else f"{count:,}" for count in (one.train, one.dev))
        frozen = "" if one.trained == one.parameters else f", {one.trained:,} trained"
        rows.append(
            [
                one.name or stages.name,
                f"{train} / {dev}",
                f"{one.parameters:,}{frozen}",
                f"{one.memory / 1e6:,.0f} MB",
                "many" if one.batches is None else f"{about}{one.batches:,}",
                f"{'many' if one.steps is None else f'{about}{one.steps:,}'}, {one.warmup:,} of warm-up",
            ]
        )
    head = ["stage", "train / dev", "parameters", "memory", "batches an epoch", "steps"]
    print(table(head, rows, color=console.use_color(), width=console.width()))
    console.info("memory counts weights, gradients, optimizer and weight average, but not activations")
    if not all(one.exact for one in checks):
        console.info(f"each stage was checked on the first {LIMIT} items only, including its vocabulary")
