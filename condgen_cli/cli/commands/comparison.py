"""``condgen comparison``: one file, one command, one table."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from condgen_cli.errors import PartialFailure
from condgen_cli.files import protect, refuse_input
from condgen_cli.options import DataDirOpt, Device, DeviceOpt, LimitOpt, ReportFormat, ReportFormatOpt
from condgen_cli.settings import RUNS
from condgen_cli.terminal import console

if TYPE_CHECKING:
    from condgen_cli.comparisons.run import Outcome

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)

CURVES, SERIES = "curves.png", "series.png"
"""In the folder of the runs."""

NameArg = Annotated[str, typer.Argument(metavar="NAME|FILE", help="A comparison, see condgen comparison ls, or a TOML file.")]


class PageFormat(StrEnum):
    """How the tables are printed."""

    text = "text"
    json = "json"
    markdown = "markdown"


@app.command("ls")
def ls(format: ReportFormatOpt = ReportFormat.text) -> None:
    """List the comparisons that come with condgen and its plugins."""
    from condgen_cli.registry.plugins import manager

    specs = sorted(manager().comparisons.values(), key=lambda spec: (spec.task, spec.name))
    if format is ReportFormat.json:
        print(json.dumps({"experiments": [{"name": spec.name, "task": spec.task, "help": spec.help} for spec in specs]}))
        return
    _print_table(["comparison", "task", "what"], [[spec.name, spec.task, spec.help] for spec in specs])


@app.command("show")
def show(name: NameArg, format: ReportFormatOpt = ReportFormat.text) -> None:
    """Print a comparison as written; with --format json, with every setting that applies."""
    from condgen_cli.comparisons.definition import find_comparison, parse_comparison

    text, file = find_comparison(name)
    comparison = parse_comparison(text, file)
    print(comparison.model_dump_json(indent=2) if format is ReportFormat.json else text.rstrip())


@app.command("run")
def run(
    name: NameArg,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY.PATH=VALUE…]", help="Settings of all variants, such as training.epochs=1."),
    ] = None,
    data_dir: DataDirOpt = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="The runs' folder.  [default: runs/comparisons/NAME]")
    ] = None,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="LABEL", help="This variant alone; repeatable.")] = None,
    limit: LimitOpt = None,
    device: DeviceOpt = Device.auto,
    format: Annotated[PageFormat, typer.Option("--format", help="How the tables are printed.")] = PageFormat.text,
) -> None:
    """Train and score every variant, print the table and draw the curves; called again, it goes on where it was interrupted."""
    from condgen_cli.comparisons import report
    from condgen_cli.comparisons.curves import draw_curves
    from condgen_cli.comparisons.definition import find_comparison, parse_comparison
    from condgen_cli.comparisons.run import plan, run_all, scoring_of
    from condgen_cli.comparisons.series import draw_series

    comparison = parse_comparison(*find_comparison(name))
    folder = output or RUNS / "comparisons" / comparison.name
    if data_dir is not None:
        protect(data_dir)
    refuse_input(folder)
    runs = plan(comparison, folder, overrides or (), only or ())
    scoring = scoring_of(comparison.evaluate, runs, limit)
    outcomes = run_all(runs, scoring, data_dir, device.value)
    done = [outcome.run for outcome in outcomes if outcome.record]
    if draw_curves(done, comparison.name, folder / CURVES):
        console.info(f"curves: {folder / CURVES}")
    if draw_series(comparison, outcomes, scoring.metrics[0], folder / SERIES):
        console.info(f"scores: {folder / SERIES}")
    if format is PageFormat.json:
        print(json.dumps(report.as_json(comparison, outcomes), ensure_ascii=False))
    elif format is PageFormat.markdown:
        print(report.markdown(comparison, outcomes, scoring, _command(name, overrides or (), only or (), limit, device)))
    else:
        print(comparison.question, end="\n\n")
        for table in report.tables(outcomes, scoring):
            _print_table(table.columns, table.rows, table.title)
            print()
        print(*report.signatures(outcomes), sep="\n")
    _report_failures(outcomes)


def _command(name: str, overrides: Sequence[str], only: Sequence[str], limit: int | None, device: Device) -> str:
    """The command line, without what differs from machine to machine and changes no score: folders, and how it is printed."""
    words = ["condgen", "comparison", "run", name, *overrides]
    for label in only:
        words += ["--only", label]
    if limit:
        words += ["--limit", str(limit)]
    if device is not Device.auto:
        words += ["--device", device.value]
    return shlex.join(words)


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    from condgen_cli.render.tables import table

    print(table(columns, rows, title=title, color=console.use_color(), width=console.width()))


def _report_failures(outcomes: Sequence[Outcome]) -> None:
    failed = [(outcome.run.folder.name, outcome.error) for outcome in outcomes if outcome.error]
    if failed:
        names = ", ".join(name for name, _ in failed)
        first = failed[0][1]
        if len(failed) == len(outcomes):
            failure = PartialFailure(f"all of {len(outcomes)} runs failed, {failed[0][0]}: {first.message}", first.hint)
            failure.exit_code = first.exit_code  # nothing was done: what is wrong with the first is wrong with the command
            raise failure
        raise PartialFailure(f"{len(failed)} of {len(outcomes)} runs failed: {names}")
    incomplete = sum(outcome.record["result"].get("failed", 0) for outcome in outcomes if outcome.record)
    if incomplete:
        raise PartialFailure(f"{incomplete} items failed; the scores are of the others")
