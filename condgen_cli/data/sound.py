"""Sound as samples in memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from condgen_cli.errors import InputError

__all__ = ["Block", "Sound", "as_channels", "check_rate"]

_RATES = range(1_000, 768_001)
"""Samples a second that a recording may have; others stand in broken headers."""

Block = tuple[NDArray[np.floating[Any]], int]
"""Samples (samples, channels) and how many there are in a second."""


class Sound(NamedTuple):
    """A sound decoded already.

    Args:
        samples: (samples,) or (samples, channels), floats in [-1, 1].
        rate: samples a second.
    """

    samples: NDArray[np.floating[Any]]
    rate: int


def as_channels(samples: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Samples (samples,) or (samples, channels) as (samples, channels).

    Raises:
        InputError: if they have another shape, or are no floats.
    """
    if not np.issubdtype(samples.dtype, np.floating) or samples.ndim not in (1, 2):
        raise InputError(f"samples must be floats, (samples,) or (samples, channels), not {samples.dtype} {samples.shape}")
    return samples if samples.ndim == 2 else samples[:, None]


def check_rate(name: str, rate: int) -> None:
    """Make sure that a recording's samples a second are believable.

    Raises:
        InputError: if they aren't.
    """
    if rate not in _RATES:
        raise InputError(f"{name} has {rate} samples a second; {_RATES[0]} to {_RATES[-1]} can be read")
