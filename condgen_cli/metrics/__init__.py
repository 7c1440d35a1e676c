"""Metrics: every score is a function of sums of per-item statistics.

So statistics of parts of a set add up to those of the whole, and a bootstrap is one matrix product.
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
    """A metric, or a family that shares its statistics: derive from it, set ``keys`` and ``signature``, implement
    ``statistics`` and ``score``.

    A score that no item bears on is not a number.

    Attributes:
        item_key: the key by which ``eval --worst`` ranks single items; empty: none of them means something for one item.
        lower_is_better: whether a high value of ``item_key`` is bad.
        reads_attention: whether ``Generation.attention`` is read; else it isn't kept.
        reads_likelihood: whether ``Generation.reference_log_probs`` is read; else it isn't computed.
        reads_output: whether ``Generation.output`` is read; if no metric reads it, nothing is decoded.
        reads_blanks: whether words are what stands between blanks: the user is warned where a text has none.
        words: a method ``(text: str) -> list[str]`` of metrics of words: what alignments take for the words of a text. None:
            what stands between blanks.
    """

    item_key: str = ""
    lower_is_better: bool = False
    reads_attention: bool = False
    reads_likelihood: bool = False
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
        """What makes the scores comparable, in sacreBLEU's manner: ``case:lc|tok:condgen-ptb-1|version:…``."""

    @abstractmethod
    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        """Sufficient statistics, (items, k), of outputs against the items' references."""

    @abstractmethod
    def score(self, totals: NDArray[np.float64], n: int) -> Mapping[str, NDArray[np.float64]]:
        """Scores by key, (...), from statistics summed over ``n`` items, (..., k)."""

    def remarks(self, items: Sequence[Item], totals: NDArray[np.float64]) -> Mapping[str, str]:
        """Why scores are no numbers, or say little: by key, a line in lower case that doesn't name the key.

        Args:
            items: at least one.
            totals: (k,), their statistics summed.
        """
        return {}
