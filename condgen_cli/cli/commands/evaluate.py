"""``condgen eval``: score models on a data set, beside published results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from itertools import islice
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
from condgen_cli.cli.commands.scored_items import MOST_WARNINGS, items_json, print_items, warn_of_items
from condgen_cli.errors import InputError, PartialFailure, UsageError
from condgen_cli.explain import METHODS
from condgen_cli.files import OutputFile, check_output
from condgen_cli.options import (
    BackendOpt,
    BatchSizeOpt,
    BeamOpt,
    DataDirOpt,
    Device,
    DeviceOpt,
    LimitOpt,
    NoRepeatNgramOpt,
    NormaliseOpt,
    ReportFormat,
    ReportFormatOpt,
    SeedOpt,
    SetOpt,
    SplitOpt,
    TokenizeOpt,
    WeightOpt,
    parse_methods,
    parse_weights,
)
from condgen_cli.specs import DatasetSpec
from condgen_cli.terminal import console
from condgen_cli.terminal.printable import printable

if TYPE_CHECKING:
    from condgen_cli.item import Item
    from condgen_cli.metrics.evaluation import Comparison, Evaluation
    from condgen_cli.metrics.report import Report
    from condgen_cli.metrics.suite import Suite
    from condgen_cli.running.decoding import Decoding
    from condgen_cli.running.runner import Runner
    from condgen_cli.zoo.manifest import Reference

__all__ = ["evaluate"]


MapsOpt = Annotated[
    str | None,
    typer.Option(
        "--explain",
        metavar="METHOD,…",
        help=f"Methods whose maps the metrics judge, each scored by itself: {', '.join(METHODS)}.",
    ),
]


def evaluate(
    models: Annotated[list[str], typer.Argument(metavar="MODEL", help="Models of the zoo, or folders of training runs.")],
    dataset: Annotated[str, typer.Option("--dataset", metavar="NAME", help="A data set; see condgen data ls.")],
    settings: SetOpt = None,
    split: SplitOpt = None,
    data_dir: DataDirOpt = None,
    limit: LimitOpt = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help="A score to compute instead of the data set's; may be repeated."),
    ] = None,
    beam: BeamOpt = None,
    no_repeat_ngram: NoRepeatNgramOpt = None,
    weight: WeightOpt = None,
    explain: MapsOpt = None,
    tokenize: TokenizeOpt = None,
    normalise: NormaliseOpt = None,
    batch_size: BatchSizeOpt = 16,
    device: DeviceOpt = Device.auto,
    backend: BackendOpt = None,
    seed: SeedOpt = 12345,
    ci: IntervalsOpt = True,
    paired: Annotated[
        bool, typer.Option("--paired", help="Compare every further model with the first on the same items.")
    ] = False,
    alignments: AlignmentsOpt = None,
    errors: Annotated[
        Path | None, typer.Option("--errors", metavar="FILE", help="Write the output and scores of every item, as JSONL.")
    ] = None,
    worst: Annotated[
        int, typer.Option("--worst", min=0, metavar="N", help="Show the N worst items with the model's attention.")
    ] = 0,
    format: ReportFormatOpt = ReportFormat.text,
) -> None:
    """Score models on a data set, with intervals, beside published results."""
    methods = parse_methods(explain)
    if paired and len(models) * max(1, len(methods)) < 2:
        raise UsageError("--paired compares models: name at least two")
    weights = edit_costs(alignments)
    scorers = parse_weights(weight or ())

    from condgen_cli.data.store import check_options, dataset_spec, open_dataset, parse_options
    from condgen_cli.metrics.evaluation import by_method
    from condgen_cli.metrics.report import Setup, report
    from condgen_cli.metrics.significance import RESAMPLES
    from condgen_cli.metrics.suite import dataset_suite
    from condgen_cli.running.backends import require_torch

    spec = dataset_spec(dataset)
    part = split or spec.splits[-1]
    options = check_options(spec, parse_options(settings or ()))
    suite = dataset_suite(spec, options, tokenize=tokenize or "", keys=metric or (), normalise=normalise or "")

    def items() -> Iterator[Item]:
        return islice(open_dataset(dataset, part, data_dir, options), limit)

    # before the models are loaded, so that a missing data set is reported at once
    total = _size(open_dataset(dataset, part, data_dir, options), limit)
    if next(items(), None) is None:
        raise InputError(f"split {part} of data set {dataset} has no items")
    if errors:
        check_output(errors)
    if methods and not suite.reads_maps:
        raise UsageError("--explain can't change these scores: no metric reads maps", "--metric faithfulness")
    if suite.reads_maps:
        backend = require_torch(backend, "a metric that reads maps")
    runners = _runners(models, device, backend, spec)
    if errors:
        check_output(errors)  # again: it may be a model's file
    decodings = [_decoding(runner, suite, beam, no_repeat_ngram, scorers) for runner in runners]
    evaluations = [
        _run(runner, items, suite, decoding, seed, batch_size, explain=methods, keep_attention=worst > 0, total=total)
        for runner, decoding in zip(runners, decodings, strict=True)
    ]
    if methods:
        evaluations = [one for evaluation in evaluations for one in by_method(suite, evaluation, methods)]
        runners = [runner for runner in runners for _ in methods]
    resamples = RESAMPLES if ci else 0
    explained = [*methods] * len(models) if methods else ["attention" * suite.reads_curves] * len(models)
    setups = [
        Setup(dataset, part, options, limit, evaluation.decoding, method)
        for evaluation, method in zip(evaluations, explained, strict=True)
    ]
    reports = [
        report(suite, e.items, e.generations, e.statistics, seed=seed, resamples=resamples, setup=setup)
        for e, setup in zip(evaluations, setups, strict=True)
    ]
    comparisons = _comparisons(suite, evaluations, seed) if paired else []
    if errors:
        _write_errors(errors, suite, evaluations)
    if format is ReportFormat.json:
        results = [_result(dataset, part, *pair) for pair in zip(evaluations, reports, strict=True)]
        _print_json(results, comparisons, items_json(suite, evaluations, worst, weights))
    else:
        references = _references(spec, part, options, runners)
        _print_tables(f"{dataset} {part}", suite, evaluations, reports, comparisons, references, spec)
        for runner, evaluation in zip(runners, evaluations, strict=True):
            print_items(runner, evaluation, suite, items, worst, weights)
    for evaluation, one in zip(evaluations, reports, strict=True):
        warn_remarks(one, evaluation.name)
        warn_of_items(evaluation)
    for comparison in comparisons:
        warn_few(comparison.n)
    _report_failures(evaluations)


def _size(items: Iterable[Item], limit: int | None) -> int | None:
    """Number of items; None if not known without reading them."""
    if not isinstance(items, Sized):
        return limit
    return len(items) if limit is None else min(len(items), limit)


def _runners(models: Sequence[str], device: Device, backend: str | None, dataset: DatasetSpec) -> list[Runner]:
    from condgen_cli.running.runner import load

    runners = [load(model, device.value, backend) for model in models]
    for runner in runners:
        if runner.task != dataset.task:
            raise UsageError(f"data set {dataset.name} is for {dataset.task}, model {runner.name} for {runner.task}")
    return runners


def _decoding(
    runner: Runner, suite: Suite, beam: int | None, no_repeat_ngram: int | None, weights: Mapping[str, float]
) -> Decoding:
    """The model's default decoding with the user's changes.

    Raises:
        UsageError: if the changes have no effect on the scores.
    """
    from condgen_cli.metrics.evaluation import searches
    from condgen_cli.running.decoding import reweight

    decoding = reweight(runner.decoding, runner.model, weights) if weights else runner.decoding
    options = {"--beam": beam, "--no-repeat-ngram": no_repeat_ngram, "--weight": weights or None}
    given = [name for name, value in options.items() if value is not None]
    if given and not searches(runner, suite):
        why = f"{runner.name} doesn't search" if suite.reads_output else "the metrics don't use outputs"
        raise UsageError(f"{' and '.join(given)} can't change these scores: {why}")
    if no_repeat_ngram is not None:
        decoding = replace(decoding, no_repeat_ngram=no_repeat_ngram)
    return replace(decoding, method="beam" if beam > 1 else "greedy", beam=beam) if beam else decoding


def _run(
    runner: Runner,
    items: Callable[[], Iterable[Item]],
    suite: Suite,
    decoding: Decoding,
    seed: int,
    batch_size: int,
    *,
    explain: Sequence[str],
    keep_attention: bool,
    total: int | None,
) -> Evaluation:
    from condgen_cli.metrics.evaluation import evaluate

    with console.progress(total, runner.name) as advance:
        return evaluate(
            runner,
            items(),
            suite,
            decoding=decoding,
            seed=seed,
            batch_size=batch_size,
            explain=explain,
            keep_attention=keep_attention,
            advance=advance,
        )


def _comparisons(suite: Suite, evaluations: Sequence[Evaluation], seed: int) -> list[Comparison]:
    from condgen_cli.metrics.evaluation import compare_evaluations

    first, *others = evaluations
    return [compare_evaluations(suite, first, other, seed=seed) for other in others]


def _write_errors(path: Path, suite: Suite, evaluations: Iterable[Evaluation]) -> None:
    from condgen_cli.metrics.evaluation import records

    file = OutputFile(path)
    try:
        for evaluation in evaluations:
            for record in records(suite, evaluation):
                file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
    except BaseException:
        file.discard()
        raise
    file.commit()


def _result(dataset: str, split: str, evaluation: Evaluation, report: Report) -> dict[str, Any]:
    where = {"model": evaluation.name, "dataset": dataset, "split": split}
    failed = {"failed": len(evaluation.failures)} if evaluation.failures else {}
    return {**where, **report.as_json(), "seconds": round(evaluation.seconds, 3), **failed}


def _print_json(
    results: Sequence[dict[str, Any]], comparisons: Sequence[Comparison], details: Sequence[dict[str, Any]]
) -> None:
    document: dict[str, Any] = {"results": [{**result, **detail} for result, detail in zip(results, details, strict=True)]}
    if comparisons:
        document["paired"] = [comparison.as_json() for comparison in comparisons]
    print(json.dumps(document, ensure_ascii=False, allow_nan=False))


def _references(spec: DatasetSpec, split: str, options: Mapping[str, str], runners: Iterable[Runner]) -> list[Reference]:
    """Published results in the zoo's entries on this split with these options, each once.

    None if no model is meant for the data set: results in another language would not be comparable.
    """
    from condgen_cli.zoo import open_zoo

    if not any(_is_at_home(runner, spec.name) for runner in runners):
        return []
    relevant = {name: value for name, value in options.items() if spec.options[name].scores}
    defaults = {name: option.default for name, option in spec.options.items() if option.default and option.scores}
    found: list[Reference] = []
    for entry in open_zoo().entries_at_hand():
        for reference in entry.references:
            holds = (reference.dataset, reference.split) == (spec.name, split)
            if holds and {**defaults, **reference.options} == relevant and reference not in found:
                found.append(reference)
    return found


def _is_at_home(runner: Runner, dataset: str) -> bool:
    """Whether a model is meant for a data set: it is no zoo model, or its entry has results or references on it, or none at
    all."""
    if runner.entry is None:
        return True
    known = {score.dataset for score in runner.entry.results} | {score.dataset for score in runner.entry.references}
    return not known or dataset in known


def _print_tables(
    title: str,
    suite: Suite,
    evaluations: Sequence[Evaluation],
    reports: Sequence[Report],
    comparisons: Sequence[Comparison],
    references: Sequence[Reference],
    spec: DatasetSpec,
) -> None:
    from condgen_cli.metrics import tables

    print_table(tables.scores(suite.keys, evaluations, reports, references), title)
    for evaluation, report in zip(evaluations, reports, strict=True):
        if len(report.groups) > 1:
            print_table(tables.groups(suite.keys, report, spec.passing, references), f"{evaluation.name} by group")
    if comparisons:
        print_table(tables.comparisons(suite.keys, comparisons), "difference to the first on the same items")
    print_undefined(reports)
    for signature in dict.fromkeys(report.signature for report in reports):
        print(printable(signature))


def _report_failures(evaluations: Iterable[Evaluation]) -> None:
    failures = [(evaluation.name, *failure) for evaluation in evaluations for failure in evaluation.failures]
    for model, source, error in failures[:MOST_WARNINGS]:
        console.warn(f"{model}: {source}: {error.message}")
    if failures:
        raise PartialFailure(f"{len(failures)} items failed; the scores are of the others")
