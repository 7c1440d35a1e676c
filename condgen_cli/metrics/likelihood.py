"""Negative log-likelihood of the references, in the units of the literature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from condgen_cli.generation import Generation
from condgen_cli.metrics import Metric

if TYPE_CHECKING:
    from condgen_cli.item import Item

__all__ = ["Likelihood"]


class Likelihood(Metric):
    """Negative log-likelihood, bits per token and character, and perplexity.

    ``nll_nats`` is a mean over references, ``bits_per_dim`` and ``perplexity`` are per token, including the end token if the
    model has one, ``bits_per_char`` and ``nats_per_char`` are per character of the reference.

    Statistics, summed over an item's references: negative log-likelihood in nats, tokens, characters, references.
    """

    keys = ("nll_nats", "bits_per_dim", "bits_per_char", "nats_per_char", "perplexity")
    signature = "likelihood:teacher-forced"
    item_key = "nll_nats"
    lower_is_better = True
    reads_likelihood = True
    reads_output = False

    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        rows = [
            (
                -sum(float(log_probs.sum(dtype=np.float64)) for log_probs in generation.reference_log_probs),
                sum(map(len, generation.reference_log_probs)),
                sum(map(len, item.references)),
                len(item.references),
            )
            for item, generation in zip(items, generations, strict=True)
        ]
        return np.array(rows, np.float64).reshape(-1, 4)

    def score(self, totals: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
        nats, tokens, characters, references = np.moveaxis(totals, -1, 0)
        per_token = nats / np.maximum(tokens, 1)
        per_character = nats / np.maximum(characters, 1)
        return {
            "nll_nats": nats / np.maximum(references, 1),
            "bits_per_dim": per_token / math.log(2),
            "bits_per_char": per_character / math.log(2),
            "nats_per_char": per_character,
            "perplexity": _exp(per_token),
        }

    def remarks(self, items: Sequence[Item], totals: NDArray[np.float64]) -> dict[str, str]:
        return dict.fromkeys(self.keys, "the model's log-probabilities are no numbers") if np.isnan(totals[0]) else {}


def _exp(values: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):  # the result is infinity, which is reported
        return np.exp(values)
