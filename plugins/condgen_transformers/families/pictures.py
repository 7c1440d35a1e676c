"""What families that read photos share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from condgen_cli.data.clip import ClipSource
from condgen_cli.data.image import load_image
from condgen_cli.errors import InputError
from condgen_cli.generation import Axis
from condgen_cli.item import Item
from condgen_transformers.model import Encoded, HubModel

__all__ = ["PictureModel", "grid_of"]


class PictureModel(HubModel):
    """A model that reads a photo as patches. Maps show the patches; ``class_token`` is the share of attention on the class
    token (and the like), which belongs to no place.

    Args:
        processor: an image processor of transformers.
        patches: (rows, columns) of the encoder's grid; None: a square of as many patches as there are positions.
    """

    hidden_as = "class_token"

    def __init__(self, processor: Any, patches: tuple[int, int] | None, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.processor = processor
        self.patches = patches

    def example(self) -> Item:
        return Item("example", Image.new("RGB", (64, 64), "grey"))

    def condition(self, item: Item) -> Image.Image:
        """The photo that maps are drawn on: what the encoder sees of it."""
        photo = _load(item)
        if not getattr(self.processor, "do_center_crop", False):
            return photo
        side = min(photo.size)
        left, top = (photo.width - side) // 2, (photo.height - side) // 2
        return photo.crop((left, top, left + side, top + side))

    def collate(self, items: Sequence[Item]) -> Tensor:
        """Photos (batch, 3, height, width), preprocessed as in training."""
        photos = [_load(item).convert("RGB") for item in items]
        return torch.as_tensor(self.processor(photos, return_tensors="pt")["pixel_values"])

    def lay_out(self, states: Tensor) -> Encoded:
        """Encoder states (batch, positions, size) on the grid of patches."""
        positions = states.shape[1]
        rows, columns = self.patches or (isqrt(positions), isqrt(positions))
        special = positions - rows * columns
        if special < 0:  # a pyramid joins patches
            rows = columns = isqrt(positions)
            special = positions - rows * columns
        shown = (torch.arange(positions) >= special).expand(len(states), -1)
        axes = (Axis.numbered("row", "grid", rows), Axis.numbered("column", "grid", columns))
        return Encoded(states, None, shown, [axes] * len(states))


def grid_of(vision: Any) -> tuple[int, int] | None:
    """(rows, columns) of patches that the config of a vision transformer states; None if it doesn't."""
    sizes: Mapping[str, Any] = vision.to_dict()
    image, patch = sizes.get("image_size"), sizes.get("patch_size")
    if not image or not patch:
        return None
    height, width = image if isinstance(image, list | tuple) else (image, image)
    high, wide = patch if isinstance(patch, list | tuple) else (patch, patch)
    return int(height) // int(high), int(width) // int(wide)


def _load(item: Item) -> Image.Image:
    if isinstance(item.condition, ClipSource):
        raise InputError(f"{item.source or item.id} is a video, and this model describes photos", "--model sat-video")
    return load_image(item.condition)
