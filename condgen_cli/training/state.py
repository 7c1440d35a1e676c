"""The state of a run beside its tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from condgen_cli.training.recipe import Training

__all__ = ["RunState"]


@dataclass
class RunState:
    """The state of a run that a checkpoint holds as JSON.

    Args:
        step, epoch: numbers of steps and epochs done.
        batch: number of batches done in the current epoch, on each process.
        evaluated: step of the last evaluation.
        best, best_step, best_dev: best value of the selecting dev metric, its step, and all dev metrics at that step.
        stale, plateau_stale: number of evaluations without improvement, since the best one and since the last decay.
        plateau: product of the decays so far.
        sums: sums since the last record of the log: ``tokens``, ``seconds``, and each statistic times tokens.
        seconds: time spent in training steps.
        scaler: state of the gradient scaler of fp16.
        warmup: number of warm-up steps; None before the training has started.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    evaluated: int = 0
    best: float | None = None
    best_step: int = 0
    best_dev: dict[str, float] = field(default_factory=dict)
    stale: int = 0
    plateau: float = 1.0
    plateau_stale: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    scaler: dict[str, float] = field(default_factory=dict)
    warmup: int | None = None

    def is_evaluation_due(self, settings: Training) -> bool:
        """Whether an evaluation is due after the latest step."""
        if not self.step:
            return False
        if settings.evaluate_every and self.epoch < settings.epochs:
            return self.step % settings.evaluate_every == 0
        return self.batch == 0

    def is_finished(self, settings: Training) -> bool:
        """Whether all epochs are done, or the dev metric has not improved for ``patience`` evaluations."""
        stale = bool(settings.patience) and self.stale >= settings.patience
        return stale or self.epoch >= settings.epochs

    def is_better(self, dev: Mapping[str, float], settings: Training) -> bool:
        """Whether an evaluation is the best so far; NaN never is."""
        value = dev[settings.metric]
        if self.best is None:
            return not math.isnan(value)
        return value > self.best if settings.mode == "max" else value < self.best

    def judge(self, dev: dict[str, float], settings: Training) -> bool:
        """Record an evaluation after the latest step, and return whether it is the best so far."""
        self.evaluated = self.step
        better = self.is_better(dev, settings)
        if better:
            self.best, self.best_step, self.best_dev = dev[settings.metric], self.step, dev
            self.stale = self.plateau_stale = 0
        else:
            self.stale += 1
            self.plateau_stale += 1
        if settings.schedule == "plateau" and self.plateau_stale >= settings.plateau_patience:
            self.plateau *= settings.plateau_factor
            self.plateau_stale = 0
        return better
