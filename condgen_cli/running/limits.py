"""Limits of numbers in command lines, recipes and manifests. Separate because help pages may not import torch."""

from __future__ import annotations

__all__ = [
    "LARGEST_BATCH",
    "LARGEST_PENALTY",
    "LARGEST_SEED",
    "LONGEST_OUTPUT",
    "MOST_SAMPLES",
    "TEMPERATURES",
    "WIDEST_BEAM",
]

LARGEST_SEED = 2**64 - 1
"""Seeds are unsigned 64-bit integers."""
WIDEST_BEAM = 1000
"""Largest beam: hypotheses per input."""
MOST_SAMPLES = 10_000
"""Largest number of samples per input."""
LONGEST_OUTPUT = 100_000
"""In tokens."""
LARGEST_BATCH = 10_000
"""Largest batch size, in inputs."""
TEMPERATURES = (0.01, 1000.0)
"""Range of the temperature: from practically greedy to practically uniform."""
LARGEST_PENALTY = 100.0
"""Largest absolute exponent of the length penalty: beyond it, scores would all be equal in floating point."""
