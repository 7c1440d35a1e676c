"""Influence of earlier pixels on the next one, which shows the geometry of a network."""

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
"""Number of pictures sampled from the model, with a fixed seed."""
ABOVE = 8
BESIDE = 8
"""Rows above and columns to either side of the next pixel that are measured."""
STRIDE = 3
"""Distance in rows and columns between the next pixels measured, since neighbours are alike."""


def influence(runner: Runner) -> Generation:
    """Mean gradient norm of the next pixel's log-probability with respect to each pixel around it, as shares of the sum.

    The mean is over pictures sampled from the model and over places whose surroundings are inside the picture.

    Raises:
        UsageError: if the model doesn't write pictures.
    """
    model = runner.model
    if not isinstance(model, ImageModel):
        raise UsageError(f"{runner.name} doesn't write pictures")
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
            # a pixel is one-hot: adding the same to all its colours changes nothing
            norm = (slope - slope.mean(2, keepdim=True)).norm(dim=2).mean(0).view(height, width).cpu().numpy()
            total += norm[row - above : row + 1, column - beside : column + beside + 1]
    rows = Axis("row", "grid", tuple(str(row) for row in range(-above, 1)))
    columns = Axis("column", "grid", tuple(f"{column:+d}" if column else "0" for column in range(-beside, beside + 1)))
    weights = (total / max(total.sum(), np.finfo(np.float64).tiny)).astype(np.float32)
    caption = f"influence of earlier pixels on the next one (row 0, column 0): {len(pixels)} pictures, {len(places)} places"
    return Generation(
        caption,
        ("next",),
        attention={"influence": AttentionMap(weights[None], (Axis("pixel", "tokens", ("next",)), rows, columns))},
    )


def _draw_pictures(runner: Runner, model: ImageModel) -> torch.Tensor:
    """Pictures (count, places) sampled from the model."""
    memory = model.encode(model.collate([model.example()]).to(runner.device))
    with torch.inference_mode():
        (found,) = decode(
            model, memory, Decoding("sample", nbest=PICTURES, max_length=model.places), [stream_key(0, "influence")]
        )
    return torch.tensor([one.ids[: model.places] for one in found], device=runner.device) - 4
