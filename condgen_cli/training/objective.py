"""What training minimises: a class to derive from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["Objective"]


class Objective(nn.Module, ABC):
    """A model with its loss: derive from it and implement ``forward``. Its parameters are what is trained."""

    @abstractmethod
    def forward(self, batch: Any) -> tuple[Tensor, Mapping[str, Any]]:
        """The loss of a batch, and statistics.

        Returns:
            a scalar tensor, and numbers or scalar tensors by name: ``tokens`` is what the loss is a mean over; the others are
            means, and are logged beside the loss.
        """

    def set_progress(self, fraction: float) -> None:
        """Called before each step with the share of the training that is done, 0 to 1."""
