"""What an output depends on: for each token, how much each position of the memory, or each part of the input, mattered.

Every method gives importances (tokens, positions), signed where a position may speak against a token.
"""

from __future__ import annotations

__all__ = ["IN_NATS", "METHODS"]

METHODS = {
    "attention": "the model's own weights",
    "occlusion": "the fall of a token's log-probability when positions of the memory are replaced by the memory's mean",
    "gradient": "gradient of a token's log-probability × value",
    "gradient-norm": "norm of that gradient",
    "integrated-gradients": "gradient × value, averaged on the way from the memory's mean",
    "input-occlusion": "the fall of a token's log-probability when parts of the input are hidden",
}
"""The methods by name."""

IN_NATS = ("occlusion", "gradient", "integrated-gradients", "input-occlusion")
"""The methods whose importances are (estimates of) differences of log-probability."""
