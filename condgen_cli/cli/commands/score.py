"""``condgen score``: any system's output against references, line by line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from condgen_cli.cli.commands.score_tables import (
    AlignmentsOpt,
    IntervalsOpt,
    edit_costs,
    print_table,
    print_undefined,
    warn_few,
    warn_remarks,
)
from condgen_cli.errors import InputError, NotFoundError, UsageError, reason_of
from condgen_cli.files import protect
from condgen_cli.files.sources import Source
from condgen_cli.options import NormaliseOpt, ReportFormat, ReportFormatOpt, SeedOpt, TokenizeOpt
from condgen_cli.terminal.printable import printable

if TYPE_CHECKING:
    from condgen_cli.generation import Generation
    from condgen_cli.item import Item
    from condgen_cli.metrics.alignments import Weights, Words
    from condgen_cli.metrics.report import Report
    from condgen_cli.metrics.significance import Difference

__all__ = ["read_lines", "score"]

_STDIN = "-"


def score(
    metrics: Annotated[list[str], typer.Argument(metavar="METRIC", help="Such as bleu4, cider, rouge_l, bleu, chrf, wer.")],
    hypotheses: Annotated[
        str, typer.Option("--hyp", metavar="FILE", help="The system's output, a line per item; - for stdin.")
    ],
    references: Annotated[
        list[str],
        typer.Option("--ref", metavar="FILE", help="References, a line per item; repeatable. An empty line is no reference."),
    ],
    paired: Annotated[
        str | None, typer.Option("--paired", metavar="FILE", help="Another system's output, compared with the first.")
    ] = None,
    tokenize: TokenizeOpt = None,
    normalise: NormaliseOpt = None,
    ci: IntervalsOpt = True,
    seed: SeedOpt = 12345,
    alignments: AlignmentsOpt = None,
    format: ReportFormatOpt = ReportFormat.text,
) -> None:
    """Score any system's output, a line per item."""
    weights = edit_costs(alignments)
    paths = [hypotheses, *references, *([paired] if paired else [])]
    if paths.count(_STDIN) > 1:
        raise UsageError("standard input can be read only once")

    from condgen_cli.metrics.report import report
    from condgen_cli.metrics.significance import RESAMPLES, compare
    from condgen_cli.metrics.suite import build_suite
    from condgen_cli.registry.plugins import manager

    known = {key: spec for key, spec in manager().metrics.items() if spec.text}
    suite = build_suite(metrics, known, tokenize=tokenize or "", normalise=normalise or "")
    lines = _read_all(paths)
    items = _items(lines[1 : 1 + len(references)])
    systems = [_generations(lines[0]), *([_generations(lines[-1])] if paired else [])]
    statistics = [suite.statistics(items, system) for system in systems]
    resamples = RESAMPLES if ci else 0
    reports = [
        report(suite, items, system, rows, seed=seed, resamples=resamples)
        for system, rows in zip(systems, statistics, strict=True)
    ]
    differences = compare(suite.score, *statistics, seed=seed) if paired else None
    names = [hypotheses, *([paired] if paired else [])]

    if format is ReportFormat.json:
        _print_json(names, reports, differences, _alignments_json(items, systems, weights, suite.words))
    else:
        if weights:
            _print_alignments(items, systems[0], weights, suite.words)
        _print_tables(suite.keys, names, reports, differences)
    for name, one in zip(names, reports, strict=True):
        warn_remarks(one, name)
    if paired:
        warn_few(len(items))


def read_lines(path: str) -> list[str]:
    """The lines of a UTF-8 file, or of standard input for ``-``; only ``\\n`` and ``\\r\\n`` end lines.

    Raises:
        NotFoundError: if there is no such file.
        InputError: if it is empty, can't be read, or a line is not UTF-8.
    """
    name = "standard input" if path == _STDIN else path
    if path != _STDIN:
        protect(path)
    try:
        data = Source(path).open() if path == _STDIN else Path(path).read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"no file {path}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {reason_of(error)}") from None
    if not data:
        raise InputError(f"{name} is empty: a line for each item is expected")
    rows = data.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n").split(b"\n")
    return [_decode_line(row, name, number) for number, row in enumerate(rows, 1)]


def _decode_line(row: bytes, name: str, number: int) -> str:
    try:
        return row.decode().removesuffix("\r")
    except UnicodeDecodeError as error:
        raise InputError(f"{name}, line {number}: byte {error.start + 1} is not UTF-8") from None


def _read_all(paths: Sequence[str]) -> list[list[str]]:
    """The lines of files.

    Raises:
        UsageError: if their numbers of lines differ.
    """
    lines = [read_lines(path) for path in paths]
    for path, rows in zip(paths, lines, strict=True):
        if len(rows) != len(lines[0]):
            raise UsageError(f"{paths[0]} has {len(lines[0])} lines, but {path} has {len(rows)}")
    return lines


def _items(references: Sequence[Sequence[str]]) -> list[Item]:
    """An item for each line. Empty references are dropped; if all are empty, the first is kept."""
    from condgen_cli.item import Item

    rows = zip(*references, strict=True)
    return [Item(str(n), None, tuple(filter(str.strip, row)) or row[:1]) for n, row in enumerate(rows, 1)]


def _generations(lines: Iterable[str]) -> list[Generation]:
    from condgen_cli.generation import Generation

    return [Generation(line) for line in lines]


def _alignments_json(
    items: Sequence[Item], systems: Iterable[Sequence[Generation]], weights: Weights | None, words: Words
) -> list[dict[str, Any]]:
    """The JSON members that ``--alignments`` adds to each system's result."""
    if weights is None:
        return [{} for _ in systems]
    from condgen_cli.metrics.alignments import closest_alignment

    def rows(system: Sequence[Generation]) -> list[dict[str, Any]]:
        pairs = zip(items, system, strict=True)
        return [{"id": item.id, **closest_alignment(item.references, g.output, weights, words).as_json()} for item, g in pairs]

    return [{"alignments": rows(system)} for system in systems]


def _print_json(
    names: Sequence[str],
    reports: Iterable[Report],
    differences: dict[str, Difference] | None,
    details: Iterable[dict[str, Any]],
) -> None:
    rows = zip(names, reports, details, strict=True)
    document: dict[str, Any] = {"results": [{"system": name, **report.as_json(), **more} for name, report, more in rows]}
    if differences:
        found = {key: difference.as_json() for key, difference in differences.items()}
        document["paired"] = [{"system": names[1], "against": names[0], "metrics": found}]
    print(json.dumps(document, ensure_ascii=False, allow_nan=False))


def _print_alignments(items: Sequence[Item], system: Sequence[Generation], weights: Weights, words: Words) -> None:
    from condgen_cli.metrics.alignments import closest_alignment, total_line

    found = [closest_alignment(item.references, g.output, weights, words) for item, g in zip(items, system, strict=True)]
    for item, alignment in zip(items, found, strict=True):
        print(alignment.text(item.id), end="\n\n")
    print(total_line(found, weights), end="\n\n")


def _print_tables(
    keys: Sequence[str], names: Sequence[str], reports: Sequence[Report], differences: dict[str, Difference] | None
) -> None:
    from condgen_cli.metrics import tables

    for name, report in zip(names, reports, strict=True):
        print_table(tables.system(keys, report), f"{name}, n = {report.n}")
    if differences:
        print_table(tables.differences(keys, differences), f"{names[1]} less {names[0]}")
    print_undefined(reports)
    print(printable(reports[0].signature))
