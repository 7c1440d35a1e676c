"""EfficientNet-Lite, the convolutional encoder of the caption models.

Tan & Le 2019, "EfficientNet: Rethinking Model Scaling for CNNs" (https://arxiv.org/abs/1905.11946), in its Lite variant:
no squeeze-and-excitation, ReLU6 in place of swish, a stem and a head that do not scale.

Batch normalisation is folded into the preceding convolutions. Its statistics stay those of ImageNet, also in fine-tuning, so
the folded network computes the same function with half the operators.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["HEAD_CHANNELS", "VARIANTS", "EfficientNetLite", "frame_vectors", "normalise"]

HEAD_CHANNELS = 1280

_AT_ONCE = 32
"""Frames encoded at once; more only need more memory."""

STEM_CHANNELS = 32


@dataclass(frozen=True)
class Stage:
    """A run of inverted residual blocks (Table 1 of the paper), unscaled; ``stride`` is the first block's."""

    channels: int
    repeats: int
    stride: int
    kernel: int
    expansion: int


STAGES = (
    Stage(16, 1, 1, 3, 1),
    Stage(24, 2, 2, 3, 6),
    Stage(40, 2, 2, 5, 6),
    Stage(80, 3, 2, 3, 6),
    Stage(112, 3, 1, 5, 6),
    Stage(192, 4, 2, 5, 6),
    Stage(320, 1, 1, 3, 6),
)

VARIANTS = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2), "lite3": (1.2, 1.4), "lite4": (1.4, 1.8)}
"""Width and depth multipliers."""


def scale_channels(channels: int, width: float, divisor: int = 8) -> int:
    """``channels * width`` rounded to a multiple of ``divisor``, never by more than a tenth downward."""
    scaled = max(divisor, int(channels * width + divisor / 2) // divisor * divisor)
    return scaled + divisor if scaled < 0.9 * channels * width else scaled


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding: output ``ceil(input / stride)``, the odd pixel padded right and below."""

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        left, right, top, bottom = pads
        if left == right and top == bottom:
            return F.conv2d(x, self.weight, self.bias, self.stride, (top, left), self.dilation, self.groups)
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class InvertedResidual(nn.Module):
    """Expand 1×1, depthwise k×k, project 1×1; the input is added where shapes allow.

    Maps (batch, in_channels, h, w) to (batch, out_channels, ceil(h / stride), ceil(w / stride)).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, kernel: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand = SameConv2d(in_channels, hidden, 1) if expansion != 1 else None
        self.depthwise = SameConv2d(hidden, hidden, kernel, stride, groups=hidden)
        self.project = SameConv2d(hidden, out_channels, 1)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        hidden = x if self.expand is None else F.relu6(self.expand(x))
        hidden = self.project(F.relu6(self.depthwise(hidden)))
        return x + hidden if self.residual else hidden


class EfficientNetLite(nn.Module):
    """Feature extractor: (batch, 3, h, w) normalised pixels to (batch, 1280, ceil(h / 32), ceil(w / 32)).

    Args:
        variant: a key of ``VARIANTS``.
    """

    def __init__(self, variant: str = "lite2") -> None:
        super().__init__()
        width, depth = VARIANTS[variant]
        self.stem = SameConv2d(3, STEM_CHANNELS, 3, 2)
        stages: list[nn.Module] = []
        channels = STEM_CHANNELS
        for index, stage in enumerate(STAGES):
            out = scale_channels(stage.channels, width)
            ends = index in (0, len(STAGES) - 1)
            repeats = stage.repeats if ends else math.ceil(stage.repeats * depth)
            blocks = []
            for block in range(repeats):
                stride = stage.stride if block == 0 else 1
                blocks.append(InvertedResidual(channels, out, stride, stage.kernel, stage.expansion))
                channels = out
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.head = SameConv2d(channels, HEAD_CHANNELS, 1)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Run the network from stage ``start`` on; ``x`` are pixels for 0, else the output of ``trunk(pixels, start)``."""
        if start == 0:
            x = F.relu6(self.stem(x))
        for stage in self.stages[start:]:
            x = stage(x)
        return F.relu6(self.head(x))

    def trunk(self, pixels: Tensor, stop: int) -> Tensor:
        """The input of stage ``stop`` (1..7), which is cached while only later stages are trained."""
        x = F.relu6(self.stem(pixels))
        for stage in self.stages[:stop]:
            x = stage(x)
        return x


def normalise(pixels: Tensor) -> Tensor:
    """Bytes (…, 3, h, w) in 0..255 as (x - 127) / 128, the range of the ImageNet weights."""
    return (pixels.to(torch.float32) - 127.0) / 128.0


def frame_vectors(encoder: EfficientNetLite, pixels: Tensor) -> Tensor:
    """Means of the feature maps (n, 1280) of frames as bytes (n, 3, size, size)."""
    parts = []
    for part in torch.split(pixels, _AT_ONCE):
        maps = encoder(normalise(part).contiguous(memory_format=torch.channels_last))
        parts.append(maps.mean((2, 3)))
    return torch.cat(parts)
