"""Several metrics computed together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from condgen_cli.errors import InputError, PluginError, UsageError
from condgen_cli.generation import Generation
from condgen_cli.metrics import Metric
from condgen_cli.metrics.normalisation import Normaliser, find_normaliser
from condgen_cli.metrics.words import TOKENIZERS, lacks_blanks, suitable_tokenizer
from condgen_cli.registry.guard import divert_stdout
from condgen_cli.specs import DatasetSpec, MetricSpec, look_up, resolve

if TYPE_CHECKING:
    from condgen_cli.item import Item

__all__ = ["Suite", "build_suite", "dataset_suite", "remark_lines"]


class Suite:
    """Several metrics; their statistics are columns of one matrix, so that they share the resampling.

    Args:
        metrics: the metrics.
        keys: keys of the scores to report, in order.
        normaliser: what is done to outputs and references before they are compared; None: nothing.
    """

    def __init__(self, metrics: Sequence[Metric], keys: Iterable[str], normaliser: Normaliser | None = None) -> None:
        self.metrics = tuple(metrics)
        self.keys = tuple(keys)
        self.normaliser = normaliser
        self._columns: list[int] = []
        self._warned: set[str] = set()

    @property
    def signature(self) -> str:
        """The metrics' signature; if they differ, each with the keys that it applies to: ``bleu4[case:…]|wer[case:…]``."""
        keys_of: dict[str, list[str]] = {}
        for metric in self.metrics:
            keys_of.setdefault(metric.signature, []).extend(key for key in self.keys if key in metric.keys)
        each = [f"{','.join(keys)}[{signature}]" for signature, keys in keys_of.items()]
        first = [] if self.normaliser is None else [f"norm:{self.normaliser.signature}"]
        return "|".join([*first, *(keys_of if len(keys_of) == 1 else each)])

    @property
    def item_key(self) -> str:
        """Key of the score that ranks single items: the last that is meaningful for one item, or else the last."""
        item_keys = {metric.item_key for metric in self.metrics}
        return next((key for key in reversed(self.keys) if key in item_keys), self.keys[-1])

    @property
    def lower_is_better(self) -> bool:
        """Whether lower values of ``item_key`` are better."""
        metric = next(metric for metric in self.metrics if self.item_key in metric.keys)
        return metric.lower_is_better

    @property
    def reads_attention(self) -> bool:
        """Whether a metric reads the generations' attention."""
        return any(metric.reads_attention for metric in self.metrics)

    @property
    def reads_likelihood(self) -> bool:
        """Whether a metric reads the log-probabilities of references."""
        return any(metric.reads_likelihood for metric in self.metrics)

    @property
    def reads_references(self) -> bool:
        """Whether a metric reads the forced decoding of references."""
        return any(metric.reads_references for metric in self.metrics)

    @property
    def reads_curves(self) -> bool:
        """Whether a metric reads how faithful maps are."""
        return any(metric.reads_curves for metric in self.metrics)

    @property
    def reads_maps(self) -> bool:
        """Whether a metric reads maps of any kind."""
        return self.reads_attention or self.reads_curves or any(metric.reads_references for metric in self.metrics)

    @property
    def reads_output(self) -> bool:
        """Whether a metric reads the outputs; otherwise nothing need be decoded."""
        return any(metric.reads_output for metric in self.metrics)

    @property
    def words(self) -> Callable[[str], list[str]]:
        """The function that splits a text into words for alignments: that of the word error rate, or else at white space."""
        split = next((metric.words for metric in self.metrics if metric.words is not None), str.split)
        if self.normaliser is None:
            return split
        normalise = self.normaliser.apply
        return lambda text: split(normalise(text))

    @divert_stdout()
    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        """The statistics (items, k) of all metrics.

        Raises:
            InputError: if an item has no reference.
        """
        for item in items:
            if not item.references:
                raise InputError(f"item {item.id} has no reference to score against")
        items, generations = self._normalise(items, generations)
        parts = [metric.statistics(items, generations) for metric in self.metrics]
        self._columns = [part.shape[1] for part in parts]
        return np.concatenate(parts, axis=1)

    def _normalise(
        self, items: Sequence[Item], generations: Sequence[Generation]
    ) -> tuple[Sequence[Item], Sequence[Generation]]:
        if self.normaliser is None:
            return items, generations
        normalise = self.normaliser.apply
        return (
            [replace(item, references=tuple(map(normalise, item.references))) for item in items],
            [replace(one, output=normalise(one.output)) if isinstance(one.output, str) else one for one in generations],
        )

    @divert_stdout()
    def score(self, totals: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
        """Scores by key; call it after ``statistics``, which records the metrics' numbers of columns."""
        scores: dict[str, NDArray[np.float64]] = {}
        parts = np.split(totals, np.cumsum(self._columns)[:-1], axis=-1)
        for metric, part in zip(self.metrics, parts, strict=True):
            scores.update(metric.score(part, n))
        return {key: scores[key] for key in self.keys}

    def remarks(
        self, items: Sequence[Item], generations: Sequence[Generation], statistics: NDArray[np.float64]
    ) -> dict[str, list[str]]:
        """Reasons why scores are NaN, infinite or say little: lines by key, without the key.

        Args:
            items: the items, at least one.
            generations: generation of each item.
            statistics: result of ``statistics`` for them.
        """
        found: dict[str, list[str]] = {}
        totals = np.split(statistics.sum(0), np.cumsum(self._columns)[:-1])
        for metric, part in zip(self.metrics, totals, strict=True):
            for key, remark in metric.remarks(items, part).items():
                found.setdefault(key, []).append(remark)
        values = self.score(statistics.sum(0), len(items))
        for key in self.keys:
            if not np.isfinite(values[key]) and key not in found:
                found[key] = ["no item bears on it" if np.isnan(values[key]) else "it is too large for a number"]
        self._remark_on_blanks(found, items, generations)
        return {key: found[key] for key in self.keys if key in found}

    def _remark_on_blanks(self, found: dict[str, list[str]], items: Sequence[Item], generations: Sequence[Generation]) -> None:
        reading = [metric for metric in self.metrics if metric.reads_blanks]
        if not reading:
            return
        texts = [text for item in items for text in item.references] + [str(one.output) for one in generations]
        if not lacks_blanks(texts):
            return
        fitting = suitable_tokenizer(texts)
        tokenizer = f"the tokenizer {fitting}{' or char' * (fitting == 'ja-mecab')}"
        remedies = {"bleu": tokenizer, "wer": "cer, or the tokenizer char"}
        for metric in reading:
            for key in metric.keys:
                remedy = remedies.get(metric.keys[0], f"chrf, or bleu by {tokenizer}")
                remark = f"it counts words, and most of the text has no blanks between them; try {remedy}"
                found.setdefault(key, []).append(remark)

    def new_warnings(
        self, items: Sequence[Item], generations: Sequence[Generation], statistics: NDArray[np.float64]
    ) -> list[str]:
        """``remarks`` as lines, without those that an earlier call returned."""
        lines = remark_lines(self.remarks(items, generations, statistics))
        new = [line for line in lines if line not in self._warned]
        self._warned.update(new)
        return new


def remark_lines(remarks: Mapping[str, Iterable[str]]) -> list[str]:
    """Lines that begin with the keys that they apply to; keys with the same remark share a line."""
    keys_of: dict[str, list[str]] = {}
    for key, lines in remarks.items():
        for remark in lines:
            keys_of.setdefault(remark, []).append(key)
    return [f"{', '.join(keys)}: {remark}" for remark, keys in keys_of.items()]


@divert_stdout()
def build_suite(
    keys: Sequence[str], specs: Mapping[str, MetricSpec], *, tokenize: str = "", language: str = "", normalise: str = ""
) -> Suite:
    """Build metrics by key.

    Args:
        keys: keys of the scores.
        specs: specs by key, such as ``condgen_cli.registry.plugins.manager().metrics``.
        tokenize: name of the tokenizer, for the metrics that have a choice; empty: each metric's default for the language.
        language: language code of the references, such as ``zh``; empty: unknown.
        normalise: name of a normaliser, see ``find_normaliser``; empty: none.
    Raises:
        NotFoundError: if there is no such metric or tokenizer; the hint suggests similar names.
        UsageError: if no metric supports ``tokenize``, or there is no such normaliser.
        PluginError: if a plugin builds something other than a metric.
    """
    keys = tuple(dict.fromkeys(keys))
    chosen = dict.fromkeys(look_up(specs, "metric", key) for key in keys)
    if tokenize:
        look_up(dict.fromkeys([*TOKENIZERS, *(name for spec in chosen for name in spec.tokenizers)]), "tokenizer", tokenize)
        if not any(tokenize in spec.tokenizers for spec in chosen):
            takes = [f"{spec.keys[0]} takes {', '.join(spec.tokenizers)}" for spec in chosen if spec.tokenizers]
            raise UsageError(f"--tokenize {tokenize} has no effect on {', '.join(keys)}", "; ".join(takes) or None)

    def build_metric(spec: MetricSpec) -> Metric:
        build = resolve(spec.build)
        own = tokenize if tokenize in spec.tokenizers else ""
        metric = build(tokenize=own, language=language) if spec.tokenizers else build()
        if isinstance(metric, Metric):
            return metric
        raise PluginError(
            f"the plugin of {spec.keys[0]!r} builds an instance of {type(metric).__name__}, which is not a Metric",
            f"as of API 2, class {type(metric).__name__} derives from condgen_cli.metrics.Metric",
        )

    return Suite([build_metric(spec) for spec in chosen], keys, find_normaliser(normalise))


def dataset_suite(
    spec: DatasetSpec, options: Mapping[str, str], *, tokenize: str = "", keys: Sequence[str] = (), normalise: str = ""
) -> Suite:
    """Build the metrics of a data set, or else of its task, for the language of its references.

    Args:
        options: options of the data set, without defaults.
        tokenize, normalise: as in ``build_suite``.
        keys: keys of other metrics to build instead; empty: those of the data set.
    Raises:
        NotFoundError, UsageError: as ``build_suite``.
    """
    from condgen_cli.data.store import target_language
    from condgen_cli.registry.plugins import manager

    keys = keys or spec.metrics or look_up(manager().tasks, "task", spec.task).metrics
    language = target_language(spec, options)
    return build_suite(keys, manager().metrics, tokenize=tokenize, language=language, normalise=normalise)
