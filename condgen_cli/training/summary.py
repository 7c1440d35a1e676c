"""How a run ended."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from condgen_cli.errors import CondgenError

__all__ = ["Interrupted", "Summary"]


class Interrupted(CondgenError):
    """The user stopped the run; a checkpoint is written."""

    exit_code = 130


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Args:
        run_dir: holds the best model.
        steps, epochs: done in all, resumed parts included.
        stopped: ``epochs`` if all were done, ``patience`` if the dev metric had stopped getting better.
        metric, best, best_step: the dev metric that selects, its best value, and the step it was reached at.
        dev: all dev metrics at that step.
        seconds: spent in training steps, evaluation left out.
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
