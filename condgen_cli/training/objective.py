"""The objective that training minimises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["Objective"]


class Objective(nn.Module, ABC):
    """A model with its loss: derive from it and implement ``forward``. Its parameters are trained."""

    @abstractmethod
    def forward(self, batch: Any) -> tuple[Tensor, Mapping[str, Any]]:
        """The loss of a batch, with statistics for the log.

        Returns:
            the loss as a scalar tensor, a mean over tokens, and statistics by name, numbers or scalar tensors: ``tokens``, the
            number of tokens, and any others, means over tokens that are logged beside the loss.
        """

    def set_progress(self, fraction: float) -> None:
        """Take note of the share of the training that is done, 0 to 1; called before each step."""
