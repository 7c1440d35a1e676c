"""Options, tables and warnings shared by ``condgen eval`` and ``condgen score``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from condgen_cli.errors import UsageError
from condgen_cli.terminal import console
from condgen_cli.terminal.printable import printable

if TYPE_CHECKING:
    from condgen_cli.metrics.alignments import Weights
    from condgen_cli.metrics.report import Report

__all__ = [
    "AlignmentsOpt",
    "IntervalsOpt",
    "edit_costs",
    "print_table",
    "print_undefined",
    "warn_few",
    "warn_remarks",
]

AlignmentsOpt = Annotated[
    str | None,
    typer.Option(
        "--alignments",
        metavar="plain|sclite",
        help="Print edit alignments: every error costs 1, or NIST sclite's 4 for a substitution and 3 otherwise.",
    ),
]
IntervalsOpt = Annotated[bool, typer.Option("--ci/--no-ci", help="95 % bootstrap intervals.")]


def edit_costs(name: str | None) -> Weights | None:
    """The costs of edits that ``--alignments`` names; None without it.

    Raises:
        UsageError: if it is neither ``plain`` nor ``sclite``.
    """
    if name is None:
        return None
    from condgen_cli.metrics.alignments import Weights

    try:
        return Weights(name)
    except ValueError:
        raise UsageError(f"--alignments can't be {name!r}", "one of: plain, sclite") from None


def print_table(content: tuple[Sequence[str], Sequence[Sequence[str]]], title: str) -> None:
    """Print a table and an empty line."""
    from condgen_cli.render.tables import table

    print(table(*content, title=title, color=console.use_color(), width=console.width()), end="\n\n")


def print_undefined(reports: Iterable[Report]) -> None:
    """Print below a table the reasons for undefined scores in it, each once."""
    from condgen_cli.metrics.report import UNDEFINED
    from condgen_cli.metrics.suite import remark_lines

    reasons = {key: report.remarks[key] for report in reports for key in report.undefined_keys}
    for line in remark_lines(reasons):
        print(f"{UNDEFINED} {printable(line)}")


def warn_remarks(report: Report, name: str) -> None:
    """Warn of scores that mean little."""
    from condgen_cli.metrics.suite import remark_lines

    remarks = {key: remark for key, remark in report.remarks.items() if key not in report.undefined_keys}
    for line in remark_lines(remarks):
        console.warn(f"{name}: {line}")


def warn_few(n: int) -> None:
    """Warn if there are too few items for a p-value of at most 0.05."""
    from condgen_cli.metrics.significance import least_p

    if least_p(n) > 0.05:
        console.warn(f"no p-value can be less than {least_p(n):.2g} with {n} item{'s' * (n != 1)}")
