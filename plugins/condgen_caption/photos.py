"""Photos as the models read them, and the models of photos that ONNX Runtime computes. Nothing here imports torch."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from condgen_cli.contract import Memory, SequenceContract
from condgen_cli.data.clip import ClipSource
from condgen_cli.data.content import is_picture
from condgen_cli.data.image import load_image, resize
from condgen_cli.data.text import WordVocabulary
from condgen_cli.errors import InputError
from condgen_cli.files.sources import Source
from condgen_cli.generation import Axis, Generation
from condgen_cli.item import Item
from condgen_cli.running.backends.onnx import GraphModel, Graphs
from condgen_cli.running.decoding import Hypothesis

__all__ = ["VOCABULARY_FILE", "CaptionWriter", "PhotoGraphs", "build_graphs", "grid_axes", "load_photo", "load_photos"]

VOCABULARY_FILE = "vocabulary.json"
UNSURE = 0.5
"""Confidence below which the user is warned."""


def load_photo(item: Item) -> Image.Image:
    """The photo of an item, decoded and upright; of an animated picture the first frame.

    Raises:
        InputError: if it is a video, or can't be decoded.
    """
    if isinstance(item.condition, ClipSource) and not (isinstance(item.condition, Source) and is_picture(item.condition)):
        raise InputError(f"{item.source or item.id} is a video, and this model describes photos", "--model sat-video")
    return load_image(item.condition)


def load_photos(items: Sequence[Item], size: int) -> NDArray[np.uint8]:
    """Photos as bytes (batch, 3, size, size); errors are those of ``load_photo``."""
    return np.stack([resize(load_photo(item), size) for item in items])


def grid_axes(height: int, width: int) -> tuple[Axis, Axis]:
    """The axes of a feature map's cells."""
    return Axis.numbered("row", "grid", height), Axis.numbered("column", "grid", width)


class CaptionWriter(SequenceContract):
    """What captions have, whatever computes them: a confidence, if the model was calibrated."""

    @property
    @abstractmethod
    def coefficients(self) -> Sequence[float] | None:
        """Coefficients of ``condgen_caption.confidence``; None: captions have no confidence."""

    def finish(self, generation: Generation, hypothesis: Hypothesis, item: Item) -> Generation:
        """The caption with its confidence."""
        if self.coefficients is None:
            return generation
        from condgen_caption.confidence import caption_confidence

        return replace(generation, confidence=caption_confidence(generation.log_probs, self.coefficients))

    def is_out_of_domain(self, item: Item, generation: Generation) -> bool:
        """Whether what the caption names is more likely wrong than right."""
        return generation.confidence is not None and generation.confidence < UNSURE


class PhotoGraphs(CaptionWriter, GraphModel):
    """A captioning model of photos that ONNX Runtime computes: from bytes (batch, 3, size, size), as its graph says.

    Args:
        vocabulary: words of the captions.
        coefficients: those of the confidence; None: captions have none.
        graphs: the graphs.
    """

    coefficients: Sequence[float] | None = None
    rows_at_once = 1

    def __init__(self, vocabulary: WordVocabulary, coefficients: Sequence[float] | None, graphs: Graphs) -> None:
        super().__init__(graphs)
        self.coefficients = coefficients
        self.vocabulary = vocabulary
        (self._pixels,) = graphs["encode"].graph.inputs
        self.image_size = int(graphs["encode"].shape(self._pixels)[-1] or 0)

    def example(self) -> Item:
        """A grey photo."""
        return Item("example", Image.new("RGB", (self.image_size, self.image_size), "grey"))

    def condition(self, item: Item) -> Image.Image:
        """The photo that attention maps are drawn on."""
        return load_photo(item)

    def collate(self, items: Sequence[Item]) -> NDArray[np.uint8]:
        """Photos as bytes (batch, 3, image_size, image_size)."""
        return load_photos(items, self.image_size)

    def axes(self, batch: NDArray[np.uint8], memory: Memory) -> list[tuple[Axis, ...]]:
        """The cells of the square feature map; a single pooled vector has no axes."""
        side = math.isqrt(memory.values.shape[1])
        return [] if memory.keys is None else [grid_axes(side, side)] * len(memory)


def build_graphs(config: Mapping[str, Any], files: Mapping[str, Path], graphs: Graphs) -> PhotoGraphs:
    """The model of a manifest entry that has graphs."""
    return PhotoGraphs(WordVocabulary.load(files[VOCABULARY_FILE]), config.get("confidence"), graphs)
