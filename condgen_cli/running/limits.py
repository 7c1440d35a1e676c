"""What numbers of a command line, a recipe or a manifest may be. Apart, since help pages may import no torch."""

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
"""Seeds are 64 bits, and not negative."""
WIDEST_BEAM = 1000
"""Hypotheses of an input that are searched at once."""
MOST_SAMPLES = 10_000
"""Outputs that are drawn for an input."""
LONGEST_OUTPUT = 100_000
"""Tokens."""
LARGEST_BATCH = 10_000
"""Inputs computed at once."""
TEMPERATURES = (0.01, 1000.0)
"""From greedy to hardly any preference."""
LARGEST_PENALTY = 100.0
"""Of a length penalty's exponent, either way: with more no score could be told from another."""
