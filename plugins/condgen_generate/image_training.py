"""Training of the picture models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from condgen_cli import training
from condgen_cli.data.store import open_dataset
from condgen_cli.errors import UsageError
from condgen_cli.training import Experiment, check
from condgen_cli.training.batches import full_batches
from condgen_cli.training.splits import check_items
from condgen_generate.image_data import PictureItems
from condgen_generate.image_model import ImageConfig, ImageModel

__all__ = ["ImageExperiment", "Objective"]

EVALUATED = 50
"""Batch size on the dev split, in pictures."""


class DataOptions(training.DataOptions):
    """``[data]``; by default, 2,000 pictures of the dev split are used."""

    dev_limit: int = Field(2000, ge=0)


class Objective(training.Objective):
    """Cross-entropy in nats per pixel."""

    def __init__(self, model: ImageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> tuple[Tensor, dict[str, float]]:
        """The loss of pictures (batch, places), and the number of pixels."""
        logits = self.model.pixel_logits(pixels)
        return F.cross_entropy(logits.flatten(0, 1), pixels.flatten()), {"tokens": float(pixels.numel())}


class ImageExperiment(Experiment):
    """Trains picture models. Size and palette are those of the data set unless ``[model]`` gives them.

    The dev metrics are the negative log-likelihood in nats per picture and in bits per pixel.

    Raises:
        UsageError: if the data set's pictures don't fit the model.
    """

    data_options = DataOptions
    unit = "pictures"

    data: DataOptions
    model: ImageModel

    def prepare(self) -> None:
        train, dev = (self._pictures(split) for split in ("train", "dev"))
        _, height, width = train.pictures.shape
        found = {"palette": train.palette, "height": height, "width": width}
        config = check(ImageConfig, {**found, **self.recipe.model.options}, "model")
        self.pictures = _pixels(train, config, self.data.dataset)[: self.data.limit or None]
        self.dev_pictures = _pixels(dev, config, self.data.dataset)[: self.data.dev_limit or None]
        self.model = ImageModel(config)
        self.initial.load_into(self.model)
        self.objective = Objective(self.model)

    dev_metrics = ("nll_nats", "bits_per_dim")

    @property
    def material(self) -> str:
        return f"{len(self.pictures):,} {self.unit}"

    def plan(self, epoch: int, rng: np.random.Generator) -> Sequence[NDArray[np.int64]]:
        """Pictures in random order; an incomplete last batch is left out."""
        return list(full_batches(rng.permutation(len(self.pictures)), self.recipe.training.batch_size))

    def batch(self, part: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
        """Pictures (batch, places)."""
        return self.pictures[torch.from_numpy(part)]

    def evaluate(self) -> dict[str, float]:
        """Negative log-likelihood of the dev pictures, per picture in nats and per pixel in bits."""
        total = 0.0
        for pixels in torch.split(self.dev_pictures, EVALUATED):
            logits = self.model.pixel_logits(pixels)
            total += float(F.cross_entropy(logits.flatten(0, 1), pixels.flatten(), reduction="sum"))
        nats = total / len(self.dev_pictures)
        return {"nll_nats": nats, "bits_per_dim": nats / self.model.places / float(np.log(2))}

    def _pictures(self, split: str) -> PictureItems:
        items = open_dataset(self.data.dataset, split, self.data_dir, self.data.options)
        if not isinstance(items, PictureItems):
            raise UsageError(f"{self.data.dataset} holds no pictures")
        check_items(items, self.data.dataset, split)
        return items


def _pixels(items: PictureItems, config: ImageConfig, dataset: str) -> Tensor:
    """Colour indices of pictures, (count, places).

    Raises:
        UsageError: if the pictures don't fit the model.
    """
    _, height, width = items.pictures.shape
    if (height, width) != (config.height, config.width) or items.pictures.max(initial=0) >= len(config.palette):
        raise UsageError(
            f"{dataset} has pictures of {height}x{width} in {items.pictures.max(initial=0) + 1} colours, "
            f"the model is for {config.height}x{config.width} in {len(config.palette)}",
            f"model.height={height} model.width={width}",
        )
    return torch.from_numpy(items.pictures.reshape(len(items), -1).astype(np.int64))
