"""Dropout whose random numbers are bytes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Dropout"]


class Dropout(nn.Dropout):
    """Dropout (Srivastava et al. 2014).

    On the CPU drawing random numbers is most of its work: there eight are drawn at once, and its probability is rounded to a
    256th.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        dropped = round(256 * self.p)
        if not self.training or not dropped or inputs.device.type != "cpu":
            return super().forward(inputs)
        count = inputs.numel()
        drawn = torch.empty(-(-count // 8), dtype=torch.int64).random_(-(2**63), None).view(torch.uint8)[:count]
        return inputs * drawn.view(inputs.shape).ge(dropped).to(inputs.dtype).mul_(256 / (256 - dropped))
