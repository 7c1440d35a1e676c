"""The result of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from condgen_cli.errors import CondgenError

__all__ = ["Interrupted", "Summary"]


class Interrupted(CondgenError):
    """The user has stopped the run; a checkpoint is written."""

    exit_code = 130


@dataclass(frozen=True)
class Summary:
    """The result of a run.

    Args:
        run_dir: folder of the run, with the best model.
        steps, epochs: total numbers of steps and epochs, including those before the run was resumed.
        stopped: reason of the end: ``epochs`` if all are done, ``patience`` if the dev metric has stopped improving.
        metric, best, best_step: dev metric that selects the model, its best value, and the step of that value.
        dev: all dev metrics at that step.
        seconds: time spent in training steps, without evaluation.
    """

    run_dir: Path
    steps: int
    epochs: int
    stopped: str
    metric: str
    best: float | None
    best_step: int
    dev: Mapping[str, float]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        dev = {name: value if math.isfinite(value) else None for name, value in self.dev.items()}
        best = None if self.best is None or not math.isfinite(self.best) else self.best
        return asdict(self) | {"run_dir": str(self.run_dir), "dev": dev, "best": best}
