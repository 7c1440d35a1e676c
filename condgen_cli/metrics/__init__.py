"""Metrics: every score is a function of sums of per-item statistics.

So statistics of parts of a set add up to those of the whole, and a bootstrap is one matrix product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from condgen_cli.generation import Generation
    from condgen_cli.model import Item

__all__ = ["Metric"]


class Metric(Protocol):
    """A metric, or a family that shares its statistics.

    A metric may also say how single items are ranked, for ``eval --worst``: ``item_key``, the key that means something for one
    item, and ``lower_is_better``, whether a high value of it is bad (default: False). One that reads attention has
    ``reads_attention = True``; one that reads ``reference_log_probs`` has ``reads_likelihood = True``, and if it looks at no
    output, ``reads_output = False``. One that takes what stands between blanks for a word has ``reads_blanks = True``: a
    warning is given where a text has none.

    A score that nothing bears on is not a number. ``remarks(items, totals)``, if a metric has it, tells by key why a score
    is none or says little: a line without the key, in lower case.
    """

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the scores, as in JSON."""

    @property
    def signature(self) -> str:
        """What makes the scores comparable, in sacreBLEU's manner: ``case:lc|tok:condgen-ptb-1|version:…``."""

    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        """Sufficient statistics, (items, k), of outputs against the items' references."""

    def score(self, totals: NDArray[np.float64], n: int) -> Mapping[str, NDArray[np.float64]]:
        """Scores by key, (...), from statistics summed over ``n`` items, (..., k)."""
