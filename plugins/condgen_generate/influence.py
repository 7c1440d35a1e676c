"""How much each earlier pixel influences the next one: the geometry that a network has, made visible."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from condgen_cli.errors import UsageError
from condgen_cli.generation import AttentionMap, Axis, Generation
from condgen_cli.running.decoding import Decoding, decode
from condgen_cli.running.randomness import stream_key
from condgen_generate.image_model import ImageModel

if TYPE_CHECKING:
    from condgen_cli.running.runner import Runner

__all__ = ["influence"]

PICTURES = 16
"""Drawn from the model itself, with a fixed seed."""
ABOVE = 8
BESIDE = 8
"""Rows and columns around the next pixel that are looked at."""
STRIDE = 3
"""Only every so many rows and columns is a pixel the next one: neighbours look alike."""


def influence(runner: Runner) -> Generation:
    """Mean norm of the gradient of the next pixel's log-probability by each pixel around it, as shares of their sum.

    The mean is over pictures that the model draws and over places whose surroundings lie within the picture.

    Raises:
        UsageError: if the model writes no pictures, or too small ones.
    """
    model = runner.model
    if not isinstance(model, ImageModel):
        raise UsageError(f"{runner.name} writes no pictures")
    height, width = model.config.height, model.config.width
    above, beside = min(ABOVE, height - 1), min(BESIDE, (width - 1) // 2)
    places = [(row, column) for row in range(above, height, STRIDE) for column in range(beside, width - beside, STRIDE)]
    pixels = _draw_pictures(runner, model)
    colors = F.one_hot(pixels, model.vocabulary.colors).to(torch.float32).requires_grad_()
    with torch.enable_grad():
        chosen = -F.cross_entropy(model.color_logits(colors).transpose(1, 2), pixels, reduction="none")
        total = np.zeros((above + 1, 2 * beside + 1))
        for row, column in places:
            (slope,) = torch.autograd.grad(chosen[:, row * width + column].sum(), colors, retain_graph=True)
            # a pixel is one-hot: what adds to all its colours alike changes nothing
            norm = (slope - slope.mean(2, keepdim=True)).norm(dim=2).mean(0).view(height, width).cpu().numpy()
            total += norm[row - above : row + 1, column - beside : column + beside + 1]
    rows = Axis("row", "grid", tuple(str(row) for row in range(-above, 1)))
    columns = Axis("column", "grid", tuple(f"{column:+d}" if column else "0" for column in range(-beside, beside + 1)))
    weights = (total / max(total.sum(), np.finfo(np.float64).tiny)).astype(np.float32)
    told = f"influence of earlier pixels on the next one (row 0, column 0): {len(pixels)} pictures, {len(places)} places"
    return Generation(
        told,
        ("next",),
        attention={"influence": AttentionMap(weights[None], (Axis("pixel", "tokens", ("next",)), rows, columns))},
    )


def _draw_pictures(runner: Runner, model: ImageModel) -> torch.Tensor:
    """Pictures (count, places) from the model."""
    memory = model.encode(model.collate([model.example()]).to(runner.device))
    with torch.inference_mode():
        (found,) = decode(
            model, memory, Decoding("sample", nbest=PICTURES, max_length=model.places), [stream_key(0, "influence")]
        )
    return torch.tensor([one.ids[: model.places] for one in found], device=runner.device) - 4
