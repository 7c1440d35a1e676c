"""Running a model over a data set and scoring its outputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from condgen_cli.errors import CondgenError, InputError
from condgen_cli.generation import Generation
from condgen_cli.metrics.alignments import Alignment, Weights, Words, closest_alignment
from condgen_cli.metrics.significance import Difference, Matrix, compare, finite
from condgen_cli.metrics.suite import Suite
from condgen_cli.running.request import Request

if TYPE_CHECKING:
    from condgen_cli.item import Item
    from condgen_cli.running.decoding import Decoding
    from condgen_cli.running.runner import Runner

__all__ = [
    "Comparison",
    "Evaluation",
    "align_output",
    "by_method",
    "compare_evaluations",
    "decoding_of",
    "evaluate",
    "records",
    "searches",
    "worst_rows",
]


_DRAWING = frozenset({"temperature", "top_k", "top_p"})
_WITHOUT_EFFECT = {"beam": _DRAWING, "greedy": _DRAWING | {"beam", "nbest"}, "sample": frozenset({"beam", "nbest"})}
"""Fields of ``Decoding`` that have no effect, by method."""


@dataclass
class Evaluation:
    """The outputs of a model for a data set. Conditions are not kept, since a data set may be larger than memory.

    Args:
        name: name of the model.
        items: items with an output, without their conditions.
        generations: best generation of each item.
        failures: (source, error) of each item that failed.
        seconds: wall-clock time from reading the first item to the last output.
        statistics: (items, k) statistics of the suite.
        decoding: decoding settings, as ``decoding_of`` returns them.
    """

    name: str
    items: list[Item] = field(default_factory=list)
    generations: list[Generation] = field(default_factory=list)
    failures: list[tuple[str, CondgenError]] = field(default_factory=list)
    seconds: float = 0.0
    statistics: Matrix = field(default_factory=lambda: np.zeros((0, 0)))
    decoding: Mapping[str, Any] = field(default_factory=dict)


def searches(runner: Runner, suite: Suite) -> bool:
    """Whether outputs are decoded for the suite: the model writes tokens, and a metric reads the output."""
    from condgen_cli.contract import SequenceContract

    return suite.reads_output and isinstance(runner.model, SequenceContract)


def decoding_of(decoding: Decoding) -> dict[str, Any]:
    """The settings of search or sampling that can change the best output, with defaults; scorer weights above 0 alone."""
    settings = asdict(decoding)
    settings["weights"] = {name: weight for name, weight in decoding.weights.items() if weight}
    if decoding.ends == "nbest":  # the search of all models of condgen, which signatures have never named
        del settings["ends"]
    return {name: value for name, value in settings.items() if name not in _WITHOUT_EFFECT[decoding.method]}


def evaluate(
    runner: Runner,
    items: Iterable[Item],
    suite: Suite,
    *,
    decoding: Decoding | None = None,
    seed: int = 0,
    batch_size: int = 16,
    explain: Sequence[str] = (),
    keep_attention: bool = False,
    advance: Callable[[float], None] = lambda amount: None,
) -> Evaluation:
    """Run a model over items and compute the metrics' statistics of its outputs.

    Args:
        runner: the model.
        items: items with references.
        suite: metrics to compute.
        decoding: decoding settings; None: the model's defaults.
        seed: seed of sampling.
        batch_size: number of items decoded at once.
        explain: methods whose maps the metrics read (see ``by_method``); empty: the model's own attention.
        keep_attention: whether to keep attention maps, for showing some of them later.
        advance: function that is called with 1 after each item.
    Raises:
        InputError: if there are no items, all failed, or one has no reference.
    """
    decoding = decoding or runner.decoding
    done = Evaluation(runner.name, decoding=decoding_of(decoding) if searches(runner, suite) else {})
    keep_attention = keep_attention or suite.reads_attention
    started = time.perf_counter()
    request = Request(
        decoding,
        batch_size,
        seed=seed,
        conditions=False,
        outputs=suite.reads_output,
        likelihoods=suite.reads_likelihood,
        references=suite.reads_references,
        explain=tuple(explain) or ("attention",) * suite.reads_curves,
        curves=suite.reads_curves,
    )
    for result in runner.stream(items, request):
        if result.error is None and result.item is not None and result.generations:
            done.items.append(replace(result.item, condition=None))
            best = result.generations[0]
            done.generations.append(best if keep_attention else replace(best, attention={}, extras={}))
        else:
            done.failures.append((result.source, result.error or InputError("nothing was written")))
        advance(1)
    done.seconds = time.perf_counter() - started
    if not done.items:
        raise _nothing_done(done)
    done.statistics = suite.statistics(done.items, done.generations)
    return done


def by_method(suite: Suite, done: Evaluation, methods: Sequence[str]) -> list[Evaluation]:
    """An evaluation for each of the methods that maps were made by; of the same outputs, since these don't depend on them."""

    def only(generation: Generation, method: str) -> Generation:
        others = {name for name in methods if name != method}
        kept = {name: map for name, map in generation.attention.items() if name not in others}
        if method != "attention":
            kept = {name: map for name, map in kept.items() if name == method}
        curves = {name: curves for name, curves in generation.curves.items() if name == method}
        references = tuple(only(one, method) for one in generation.references)
        return replace(generation, attention=kept, curves=curves, references=references)

    found = []
    for method in methods:
        generations = [only(one, method) for one in done.generations]
        statistics = suite.statistics(done.items, generations)
        name = f"{done.name} by {method}" if len(methods) > 1 else done.name
        found.append(replace(done, name=name, generations=generations, statistics=statistics))
    return found


def _nothing_done(done: Evaluation) -> InputError:
    if not done.failures:
        return InputError("the data set has no items to evaluate on")
    source, error = done.failures[0]
    return InputError(f"{done.name} failed on all {len(done.failures)} items, first on {source}: {error.message}", error.hint)


@dataclass(frozen=True)
class Comparison:
    """Differences of a model's scores to another's, over the ``n`` items that both have outputs for."""

    model: str
    against: str
    n: int
    differences: Mapping[str, Difference]

    def as_json(self) -> dict[str, Any]:
        metrics = {key: difference.as_json() for key, difference in self.differences.items()}
        return {"model": self.model, "against": self.against, "n": self.n, "metrics": metrics}


def compare_evaluations(suite: Suite, first: Evaluation, second: Evaluation, *, seed: int) -> Comparison:
    """Compare the second model with the first.

    Raises:
        InputError: if no item has outputs of both.
    """
    row_of = {item.id: row for row, item in enumerate(first.items)}
    common = [(row_of[item.id], row) for row, item in enumerate(second.items) if item.id in row_of]
    if not common:
        raise InputError(f"{first.name} and {second.name} have no item in common")
    rows, other_rows = zip(*common, strict=True)
    statistics = _rows(suite, first, rows), _rows(suite, second, other_rows)
    return Comparison(second.name, first.name, len(common), compare(suite.score, *statistics, seed=seed))


def _rows(suite: Suite, done: Evaluation, rows: Sequence[int]) -> Matrix:
    if list(rows) == list(range(len(done.items))):
        return done.statistics
    # computed again: a statistic may depend on the set, as CIDEr's does
    return suite.statistics([done.items[row] for row in rows], [done.generations[row] for row in rows])


def worst_rows(suite: Suite, evaluation: Evaluation, count: int) -> list[int]:
    """Indices of the ``count`` worst items by ``suite.item_key``, worst first; items without that score come last."""
    values = suite.score(evaluation.statistics, 1)[suite.item_key]
    order = np.argsort(-values if suite.lower_is_better else values, kind="stable")
    return [int(row) for row in order[:count]]


def records(suite: Suite, evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    """Each item as JSON with its output, its references and its scores as a set of one item; None for undefined scores."""
    columns = suite.score(evaluation.statistics, 1)
    for row, (item, generation) in enumerate(zip(evaluation.items, evaluation.generations, strict=True)):
        metrics = {key: finite(float(values[row])) for key, values in columns.items()}
        texts = {"output": str(generation.output), "references": list(item.references)}
        warnings = {"warnings": list(generation.warnings)} if generation.warnings else {}
        yield {"model": evaluation.name, "id": item.id, **texts, "metrics": metrics, **warnings}


def align_output(evaluation: Evaluation, row: int, weights: Weights, words: Words = str.split) -> Alignment:
    """Align an output with the closest of its references; ``words`` splits a text into words."""
    return closest_alignment(evaluation.items[row].references, str(evaluation.generations[row].output), weights, words)
