"""Fast dropout on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Dropout"]


class Dropout(nn.Dropout):
    """Dropout (Srivastava et al. 2014).

    On the CPU most of the time goes into drawing random numbers, so eight 8-bit numbers are drawn at once, and the probability
    is rounded to a multiple of 1/256.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        dropped = round(256 * self.p)
        if not self.training or not dropped or inputs.device.type != "cpu":
            return super().forward(inputs)
        count = inputs.numel()
        drawn = torch.empty(-(-count // 8), dtype=torch.int64).random_(-(2**63), None).view(torch.uint8)[:count]
        return inputs * drawn.view(inputs.shape).ge(dropped).to(inputs.dtype).mul_(256 / (256 - dropped))
