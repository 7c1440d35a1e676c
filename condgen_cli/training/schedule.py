"""How the learning rate and the like change over the training, as pure functions of what is done so far."""

from __future__ import annotations

import math

__all__ = ["learning_rate_factor", "sampling_probability"]


def learning_rate_factor(schedule: str, progress: float, step: int, warmup: int, floor: float, plateau: float = 1.0) -> float:
    """What the learning rate is multiplied by.

    Args:
        schedule: ``constant``, ``cosine``, ``linear`` or ``plateau``.
        progress: share of the training done, 0 to 1.
        step: steps done.
        warmup: steps over which the rate rises linearly, whatever the schedule.
        floor: share that cosine, linear and plateau end at.
        plateau: the product of the decays so far, for ``plateau``.
    """
    shape = {
        "constant": 1.0,
        "cosine": floor + (1 - floor) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2,
        "linear": floor + (1 - floor) * (1 - min(progress, 1.0)),
        "plateau": max(floor, plateau),
    }[schedule]
    return shape * min(1.0, (step + 1) / (warmup + 1))


def sampling_probability(progress: float, final: float, start: float = 0.0, end: float = 1.0) -> float:
    """Scheduled sampling (Bengio et al. 2015): how likely the decoder reads its own output instead of the target.

    Args:
        progress: share of the training done.
        final: the probability reached.
        start, end: shares of the training between which it rises linearly from 0.
    """
    if progress >= end:
        return final
    return final * max(0.0, progress - start) / (end - start)
