"""Sound as samples in memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from condgen_cli.errors import InputError

__all__ = ["Block", "Sound", "as_channels", "check_rate"]

_RATES = range(1_000, 768_001)
"""Valid sampling rates, in samples per second; others are found in broken headers."""

Block = tuple[NDArray[np.floating[Any]], int]
"""Samples (samples, channels), and the number of samples per second."""


class Sound(NamedTuple):
    """A decoded sound.

    Args:
        samples: floats in [-1, 1], (samples,) or (samples, channels).
        rate: samples per second.
    """

    samples: NDArray[np.floating[Any]]
    rate: int


def as_channels(samples: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Samples (samples,) or (samples, channels) as (samples, channels).

    Raises:
        InputError: if they have another shape, or aren't floats.
    """
    if not np.issubdtype(samples.dtype, np.floating) or samples.ndim not in (1, 2):
        raise InputError(f"samples must be floats, (samples,) or (samples, channels), not {samples.dtype} {samples.shape}")
    return samples if samples.ndim == 2 else samples[:, None]


def check_rate(name: str, rate: int) -> None:
    """Make sure that a sampling rate is valid.

    Raises:
        InputError: if it isn't.
    """
    if rate not in _RATES:
        raise InputError(f"{name} has {rate} samples per second; {_RATES[0]} to {_RATES[-1]} are supported")
