"""Schedules of the learning rate and of scheduled sampling, as functions of the training's progress."""

from __future__ import annotations

import math

__all__ = ["learning_rate_factor", "sampling_probability"]


def learning_rate_factor(schedule: str, progress: float, step: int, warmup: int, floor: float, plateau: float = 1.0) -> float:
    """The factor that the learning rate is multiplied by.

    Args:
        schedule: ``constant``, ``cosine``, ``linear`` or ``plateau``.
        progress: share of the training that is done, 0 to 1.
        step: number of steps done.
        warmup: number of steps over which the rate rises linearly, with any schedule.
        floor: lowest factor of ``cosine``, ``linear`` and ``plateau``.
        plateau: product of the decays so far, for ``plateau``.
    """
    shape = {
        "constant": 1.0,
        "cosine": floor + (1 - floor) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2,
        "linear": floor + (1 - floor) * (1 - min(progress, 1.0)),
        "plateau": max(floor, plateau),
    }[schedule]
    return shape * min(1.0, (step + 1) / (warmup + 1))


def sampling_probability(progress: float, final: float, start: float = 0.0, end: float = 1.0) -> float:
    """Scheduled sampling (Bengio et al. 2015): the probability that the decoder reads its own output instead of the target.

    Args:
        progress: share of the training that is done, 0 to 1.
        final: probability from ``end`` on.
        start, end: shares of the training between which the probability rises linearly from 0.
    """
    if progress >= end:
        return final
    return final * max(0.0, progress - start) / (end - start)
