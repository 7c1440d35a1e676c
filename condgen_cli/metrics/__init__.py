"""Metrics: each score is a function of per-item statistics, summed over the items.

So the statistics of parts of a set add up to those of the whole, and a bootstrap is one matrix product.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from condgen_cli.generation import Generation
    from condgen_cli.item import Item

__all__ = ["Metric"]


class Metric(ABC):
    """A metric, or several that share their statistics. Derive from it, set ``keys`` and ``signature``, implement
    ``statistics`` and ``score``.

    A score to which no item contributes is NaN.

    Attributes:
        item_key: key of the score by which ``eval --worst`` ranks single items; empty: no score is meaningful for one item.
        lower_is_better: whether lower values of ``item_key`` are better.
        reads_attention: whether ``Generation.attention`` is read; otherwise it isn't kept.
        reads_likelihood: whether ``Generation.reference_log_probs`` is read; otherwise it isn't computed.
        reads_references: whether ``Generation.references`` is read; otherwise no reference is forced.
        reads_curves: whether ``Generation.curves`` is read; otherwise no curve is measured.
        reads_output: whether ``Generation.output`` is read; if no metric reads it, nothing is decoded.
        reads_blanks: whether words are separated at white space; the user is then warned of texts that have none.
        words: method ``(text: str) -> list[str]`` that splits a text into words for alignments; None: at white space.
    """

    item_key: str = ""
    lower_is_better: bool = False
    reads_attention: bool = False
    reads_likelihood: bool = False
    reads_references: bool = False
    reads_curves: bool = False
    reads_output: bool = True
    reads_blanks: bool = False
    words: ClassVar[Callable[..., list[str]] | None] = None

    @property
    @abstractmethod
    def keys(self) -> tuple[str, ...]:
        """Names of the scores, as in JSON."""

    @property
    @abstractmethod
    def signature(self) -> str:
        """Settings that comparable scores share, in sacreBLEU's format: ``case:lc|tok:condgen-ptb-1|version:…``."""

    @abstractmethod
    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        """Sufficient statistics (items, k) of the outputs and the items' references."""

    @abstractmethod
    def score(self, totals: NDArray[np.float64], n: int) -> Mapping[str, NDArray[np.float64]]:
        """Scores (...) by key, from statistics (..., k) summed over ``n`` items."""

    def remarks(self, items: Sequence[Item], totals: NDArray[np.float64]) -> Mapping[str, str]:
        """Reasons why scores are NaN or say little: by key, a line in lower case that doesn't name the key.

        Args:
            items: the scored items, at least one.
            totals: (k,) sums of their statistics.
        """
        return {}
