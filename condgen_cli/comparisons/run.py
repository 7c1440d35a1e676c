"""Training and scoring the variants of a comparison; what is done already is not done again.

A run's folder is one of ``condgen train``, with ``evaluation.json`` in it: the scores, and what they are the scores of.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condgen_cli import settings
from condgen_cli.comparisons.definition import ComparisonFile, Evaluate
from condgen_cli.errors import CondgenError, InputError, UsageError, memory_error
from condgen_cli.specs import look_up
from condgen_cli.terminal import console
from condgen_cli.training.library import find_recipe
from condgen_cli.training.overrides import parse_override
from condgen_cli.training.recipe import Recipe
from condgen_cli.training.stages import parse_recipe, read_recipe

if TYPE_CHECKING:
    from condgen_cli.item import Item

__all__ = ["Outcome", "Run", "Scoring", "plan", "run_all", "scoring_of"]

_FILE = "evaluation.json"
_SEED = 12345  # of the bootstrap, as condgen eval's


@dataclass(frozen=True)
class Run:
    """One training run: a variant with one of the comparison's seeds, if there are any."""

    label: str
    recipe: Recipe
    folder: Path
    seed: int | None = None


@dataclass(frozen=True)
class Scoring:
    """The data and metrics that runs are scored by, with all defaults; see ``Evaluate``."""

    dataset: str
    split: str
    options: Mapping[str, str]
    metrics: Sequence[str]
    limit: int | None

    def items(self, data_dir: Path | None) -> Iterator[Item]:
        from condgen_cli.data.store import open_dataset

        return islice(open_dataset(self.dataset, self.split, data_dir, self.options), self.limit)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run: its record, as in ``evaluation.json``, or an error."""

    run: Run
    record: Mapping[str, Any] | None = None
    error: CondgenError | None = None


def plan(comparison: ComparisonFile, folder: Path, overrides: Sequence[str] = (), only: Collection[str] = ()) -> list[Run]:
    """The runs of a comparison, in order, each with its whole recipe: the comparison's settings, the variant's, the overrides.

    Args:
        folder: holds the runs' folders: ``LABEL``, or ``LABEL-sSEED``.
        only: labels of the variants to do; empty: all.
    Raises:
        NotFoundError: if a label or a recipe is unknown.
        UsageError: if a variant's settings don't make a recipe.
    """
    variants = {variant.label: variant for variant in comparison.variants}
    for label in only:
        look_up(variants, "variant", label)
    runs = []
    for variant in comparison.variants:
        if only and variant.label not in only:
            continue
        text, file = find_recipe(variant.recipe or comparison.recipe or "")
        stage = variant.stage if variant.recipe else variant.stage or comparison.stage
        own = [*comparison.settings, *variant.settings, *overrides]
        for seed in comparison.seeds or (None,):
            name = variant.label if seed is None else f"{variant.label}-s{seed}"
            try:
                recipe = parse_recipe(text, file, [*own, *_own_settings(own, name, seed)], stage=stage)
            except UsageError as error:
                raise UsageError(f"variant {variant.label}: {error.message}", error.hint) from None
            runs.append(Run(variant.label, recipe, folder / name, seed))
    return runs


def _own_settings(others: Iterable[str], name: str, seed: int | None) -> list[str]:
    """The settings of a single run: its name, for displays, and its seed."""
    if seed is None:
        return [f'name="{name}"']
    if any(parse_override(setting)[0] == ("seed",) for setting in others):
        raise UsageError("the comparison gives each run its seed, so it can't be set")
    return [f'name="{name}"', f"seed={seed}"]


def scoring_of(evaluate: Evaluate, runs: Iterable[Run], limit: int | None = None) -> Scoring:
    """The scoring of the runs, with all defaults.

    Raises:
        NotFoundError: if there is no such data set or metric.
        UsageError: if the data set has no such split or option, or is for another task than a run.
    """
    from condgen_cli.data.store import check_options, dataset_spec
    from condgen_cli.registry.plugins import manager

    spec = dataset_spec(evaluate.dataset)
    split = evaluate.split or spec.splits[-1]
    if split not in spec.splits:
        raise UsageError(f"data set {spec.name} has no split {split!r}", f"its splits: {', '.join(spec.splits)}")
    for run in runs:
        if run.recipe.task != spec.task:
            raise UsageError(f"data set {spec.name} is for {spec.task}, variant {run.label} for {run.recipe.task}")
    metrics = list(evaluate.metrics or spec.metrics or look_up(manager().tasks, "task", spec.task).metrics)
    for key in metrics:
        look_up(manager().metrics, "metric", key)
    return Scoring(spec.name, split, check_options(spec, evaluate.options), metrics, limit)


def run_all(runs: Sequence[Run], scoring: Scoring, data_dir: Path | None = None, device: str = "auto") -> list[Outcome]:
    """Train and score all runs that aren't done yet, in order; a run that fails doesn't stop the others.

    Raises:
        Interrupted: after SIGINT during training, once a checkpoint is written.
        NotFoundError, UsageError, InputError: before training, if the data to score on don't exist or are empty.
    """
    saved = [_read_record(run) for run in runs]
    if not all(_is_scored(record, scoring) for record in saved) and next(scoring.items(data_dir), None) is None:
        raise InputError(f"split {scoring.split} of data set {scoring.dataset} has no items")
    return [_outcome(run, record, scoring, data_dir, device) for run, record in zip(runs, saved, strict=True)]


def _outcome(run: Run, saved: Mapping[str, Any] | None, scoring: Scoring, data_dir: Path | None, device: str) -> Outcome:
    name = run.folder.name
    if saved is not None and _is_scored(saved, scoring):
        console.info(f"{name}: done already")
        return Outcome(run, saved)
    from condgen_cli.training import Interrupted

    try:
        console.info(f"{name}: {'trained already' if saved else 'training'} in {run.folder}")
        training = saved["training"] if saved else _train(run, data_dir, device)
        console.info(f"{name}: scoring on {scoring.dataset} {scoring.split}")
        scores = _score(run, scoring, data_dir, device)
        record = {**_identity(run), "scoring": asdict(scoring), "training": training, **scores}
        _write(run.folder / _FILE, record)
        return Outcome(run, record)
    except Interrupted as error:
        raise Interrupted(error.message, "the same command continues") from None
    except CondgenError as error:
        failure = error
    except Exception as error:
        if settings.debugging():
            traceback.print_exc()
        message = " ".join(f"{type(error).__name__}: {error}".split())
        failure = memory_error(error) or CondgenError(f"unexpected {message}", "run it with condgen --debug")
    console.warn(f"{name}: {failure.message}")
    return Outcome(run, error=failure)


def _read_record(run: Run) -> dict[str, Any] | None:
    """The record of a run, if it is trained and unchanged since it was scored; else None."""
    try:
        record: dict[str, Any] = json.loads((run.folder / _FILE).read_text(encoding="utf-8"))
        return record if {key: record[key] for key in ("recipe", "files")} == _identity(run) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _identity(run: Run) -> dict[str, Any]:
    """What the scores depend on: the recipe, and hashes of the exported model and of the log, which grows with the run."""
    description = json.loads((run.folder / "model.json").read_text(encoding="utf-8"))
    digests = {}
    for name in ("log.jsonl", "model.json", *description["files"]):
        with (run.folder / name).open("rb") as file:
            digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return {"recipe": run.recipe.model_dump(mode="json"), "files": digests}


def _is_scored(record: Mapping[str, Any] | None, scoring: Scoring) -> bool:
    return record is not None and record.get("scoring") == asdict(scoring)


def _train(run: Run, data_dir: Path | None, device: str) -> dict[str, Any]:
    """Train, or resume an interrupted run, and return its summary."""
    from condgen_cli.training import build_experiment, train
    from condgen_cli.training.log import read_log

    resume = (run.folder / "recipe.json").exists()
    if resume:
        _check_same(run)
    experiment = build_experiment(run.recipe, data_dir, run.folder)
    summary = train(run.recipe, experiment, run.folder, resume, device=device, data_dir=data_dir)
    speeds = [record["tokens_per_second"] for record in read_log(run.folder / "log.jsonl") if "tokens_per_second" in record]
    ended = {key: value for key, value in summary.as_json().items() if key != "run_dir"}
    # the median, since other programs may slow down some steps
    return {**ended, "tokens_per_second": statistics.median(speeds) if speeds else None}


def _check_same(run: Run) -> None:
    """Make sure that a run has the same recipe. More epochs, which ``train --resume`` allows, would change the schedule."""
    old, new = read_recipe(run.folder / "recipe.json"), run.recipe
    if old != new:
        parts = [name for name in Recipe.model_fields if getattr(old, name) != getattr(new, name)]
        hint = f"delete {run.folder}, or choose another folder with -o"
        raise UsageError(f"{run.folder} holds a run of another recipe: its {', '.join(parts)} differ", hint)


def _score(run: Run, scoring: Scoring, data_dir: Path | None, device: str) -> dict[str, Any]:
    """The number of the model's parameters, and the result as in ``condgen eval --format json``."""
    from condgen_cli.data.store import dataset_spec
    from condgen_cli.metrics.evaluation import evaluate
    from condgen_cli.metrics.report import Setup, report
    from condgen_cli.metrics.significance import RESAMPLES
    from condgen_cli.metrics.suite import dataset_suite, remark_lines
    from condgen_cli.running.runner import load

    runner = load(run.folder, device, "torch")
    suite = dataset_suite(dataset_spec(scoring.dataset), scoring.options, keys=scoring.metrics)
    with console.progress(scoring.limit, run.folder.name) as advance:
        done = evaluate(runner, scoring.items(data_dir), suite, seed=_SEED, advance=advance)
    setup = Setup(scoring.dataset, scoring.split, scoring.options, scoring.limit, done.decoding)
    scores = report(suite, done.items, done.generations, done.statistics, seed=_SEED, resamples=RESAMPLES, setup=setup)
    for line in remark_lines(scores.remarks):
        console.warn(f"{run.folder.name}: {line}")
    result = {"model": done.name, "dataset": scoring.dataset, "split": scoring.split, **scores.as_json()}
    failed = {"failed": len(done.failures)} if done.failures else {}
    parameters = sum(parameter.numel() for parameter in runner.model.parameters())
    return {"parameters": parameters, "result": {**result, "seconds": round(done.seconds, 3), **failed}}


def _write(path: Path, record: Mapping[str, Any]) -> None:
    from condgen_cli.files import write_atomically

    write_atomically(path, (json.dumps(record, ensure_ascii=False, indent=2) + "\n").encode())
