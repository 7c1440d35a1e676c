"""Training of the picture models: all pictures are one array, batches are drawn from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from condgen_cli.data.store import open_dataset
from condgen_cli.errors import UsageError
from condgen_cli.runner import initial_files
from condgen_cli.training import Recipe, check
from condgen_cli.training.sequences import export, full_batches, load_initial
from condgen_cli.training.splits import check_items
from condgen_generate.image_data import PictureItems
from condgen_generate.image_model import ImageConfig, ImageModel

__all__ = ["ImageExperiment", "Objective"]

EVALUATED = 50
"""Dev pictures whose likelihood is computed at once."""


class DataOptions(BaseModel):
    """``[data]`` beside the data set's name.

    Args:
        options: the data set's own.
        dev_items: pictures of the dev split that epochs are judged by.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    options: dict[str, str] = {}
    dev_items: int = Field(2000, ge=1)


class Objective(nn.Module):
    """Cross-entropy in nats per pixel."""

    def __init__(self, model: ImageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Pictures (batch, places): the loss, and how many pixels it is a mean over."""
        logits = self.model.pixel_logits(pixels)
        return F.cross_entropy(logits.flatten(0, 1), pixels.flatten()), {"tokens": float(pixels.numel())}


class ImageExperiment:
    """Implements ``condgen_cli.training.Experiment``; the dev metrics are ``nll_nats`` and ``bits_per_dim``.

    Args:
        recipe: ``[model]`` are fields of ``ImageConfig``, size and palette of the pictures being the data set's unless they are
            given; ``init`` names a model to go on from.
        data_dir: where the data set lies.
        run_dir: unused.
    Raises:
        UsageError: if the data set's pictures don't fit the model.
    """

    def __init__(self, recipe: Recipe, data_dir: Path | None, run_dir: Path) -> None:
        self.recipe = recipe
        self.data = check(DataOptions, recipe.data.model_dump(), "data")
        if recipe.objective:
            raise UsageError("recipe: objective: the picture models' has no options")
        train, dev = (open_dataset(self.data.dataset, split, data_dir, self.data.options) for split in ("train", "dev"))
        if not isinstance(train, PictureItems) or not isinstance(dev, PictureItems):
            raise UsageError(f"{self.data.dataset} holds no pictures")
        check_items(train, self.data.dataset, "train")
        check_items(dev, self.data.dataset, "dev")
        _, height, width = train.pictures.shape
        found = {"palette": train.palette, "height": height, "width": width}
        config = check(ImageConfig, {**found, **recipe.model.options}, "model")
        self.pictures, self.dev = (_pixels(found, config, self.data.dataset) for found in (train, dev))
        self.dev = self.dev[: self.data.dev_items]
        self.model = ImageModel(config)
        load_initial(self.model, str(recipe.init), {} if recipe.init is None else initial_files(recipe.init))
        self.objective: nn.Module = Objective(self.model)

    dev_metrics = ("nll_nats", "bits_per_dim")

    @property
    def material(self) -> str:
        """What is trained on, counted."""
        return f"{len(self.pictures):,} pictures"

    def batches(self, epoch: int) -> _Epoch:
        """All pictures in an order that the seed and the epoch give; a last batch that isn't full is left out."""
        order = np.random.default_rng([self.recipe.seed, epoch]).permutation(len(self.pictures))
        return _Epoch(self.pictures, full_batches(order, self.recipe.training.batch_size))

    def evaluate(self) -> dict[str, float]:
        """Negative log-likelihood of the dev pictures."""
        total = 0.0
        for pixels in torch.split(self.dev, EVALUATED):
            logits = self.model.pixel_logits(pixels)
            total += float(F.cross_entropy(logits.flatten(0, 1), pixels.flatten(), reduction="sum"))
        nats = total / len(self.dev)
        return {"nll_nats": nats, "bits_per_dim": nats / self.model.places / float(np.log(2))}

    def export(self, directory: Path) -> None:
        """The model as ``load`` reads it."""
        export(directory, self.recipe, self.model, self.model.config, {})


def _pixels(items: PictureItems, config: ImageConfig, dataset: str) -> Tensor:
    """(count, places)."""
    _, height, width = items.pictures.shape
    if (height, width) != (config.height, config.width) or items.pictures.max(initial=0) >= len(config.palette):
        raise UsageError(
            f"{dataset} has pictures of {height}x{width} in {items.pictures.max(initial=0) + 1} colours, "
            f"the model is for {config.height}x{config.width} in {len(config.palette)}",
            f"model.height={height} model.width={width}",
        )
    return torch.from_numpy(items.pictures.reshape(len(items), -1).astype(np.int64))


class _Epoch:
    """The batches of one epoch, as they are asked for."""

    def __init__(self, pictures: Tensor, order: NDArray[np.int64]) -> None:
        self.pictures = pictures
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Tensor]:
        for indices in self.order:
            yield self.pictures[torch.from_numpy(indices)]
