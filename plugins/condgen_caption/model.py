"""Captioning models: a convolutional encoder of photos, and a recurrent decoder that writes a caption.

* ``sat``, Show, Attend and Tell (Xu et al. 2015): soft attention over the last feature map.
* ``nic``, Show and Tell (Vinyals et al. 2015): the pooled feature map as one vector.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from condgen_caption.cnn import HEAD_CHANNELS, EfficientNetLite, normalise
from condgen_caption.confidence import caption_confidence
from condgen_caption.occlusion import hide_cells
from condgen_cli.data.clip import ClipSource
from condgen_cli.data.content import is_picture
from condgen_cli.data.image import load_image, resize
from condgen_cli.data.text import WordVocabulary
from condgen_cli.errors import InputError, UsageError
from condgen_cli.files.sources import Source
from condgen_cli.generation import Axis, Generation
from condgen_cli.model import Item, Memory
from condgen_cli.nn import DecoderModel, RecurrentDecoder, make_attention
from condgen_cli.running.decoding import Hypothesis
from condgen_cli.training import check

__all__ = ["CaptionConfig", "CaptionModel", "Captioner", "build", "build_encoder"]

VOCABULARY_FILE = "vocabulary.json"
UNSURE = 0.5
"""Confidence below which the user is warned."""
CELL = 32
"""Side in pixels of the cells that can be painted over."""


class CaptionConfig(BaseModel):
    """Options of the caption models.

    Args:
        kind: ``sat`` attends over the feature map, ``nic`` reads the pooled vector.
        encoder: variant of EfficientNet-Lite.
        image_size: side in pixels of the square that photos are resized to, without keeping their aspect ratio.
        embedding_size, hidden_size: sizes of the decoder.
        value_size: size that feature vectors are projected to.
        match: name of a match function, or ``module:Class`` (see ``match_function``).
        match_size: size of the match function's hidden layer.
        query_hidden: size of a further layer on the decoder state before matching; 0: none.
        gate: whether the decoder has the gate β of Xu et al. 2015; ``sat`` only.
        feed: whether ``every`` step reads the vector or only the ``first``; ``nic`` only.
        dropout: dropout in the decoder.
        feature_dropout: dropout on projected feature vectors.
        confidence: coefficients of ``condgen_caption.confidence``; None: captions have no confidence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["sat", "nic"] = "sat"
    encoder: Literal["lite0", "lite1", "lite2", "lite3", "lite4"] = "lite2"
    image_size: int = Field(288, ge=32, le=1024)
    embedding_size: int = Field(512, ge=1)
    hidden_size: int = Field(512, ge=1)
    value_size: int = Field(512, ge=1)
    match: str = "additive"
    match_size: int = Field(512, ge=1)
    query_hidden: int = Field(0, ge=0)
    gate: bool = True
    feed: Literal["every", "first"] = "every"
    dropout: float = Field(0.5, ge=0, lt=1)
    feature_dropout: float = Field(0.2, ge=0, lt=1)
    confidence: tuple[float, float, float] | None = None


class FeatureMaps(NamedTuple):
    """Cached outputs of the encoder's earlier stages.

    Args:
        maps: (photos, channels, height, width); for one photo an array (height, width, channels).
        stage: index of the next encoder stage.
    """

    maps: Any
    stage: int


class Captioner(DecoderModel):
    """Base of the models of photos and of clips: an image encoder, a projection of its vectors, a decoder.

    Args:
        config: options.
        vocabulary: words of the captions.
    """

    vocabulary: WordVocabulary

    def __init__(self, config: CaptionConfig, vocabulary: WordVocabulary) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        self.encoder = EfficientNetLite(config.encoder)
        self.project = nn.Sequential(
            nn.Linear(HEAD_CHANNELS, config.value_size),
            nn.LayerNorm(config.value_size),
            nn.Dropout(config.feature_dropout),
        )
        attention = None
        if config.kind == "sat":
            sizes = (config.hidden_size, config.value_size, config.match_size, config.query_hidden)
            attention = make_attention(config.match, *sizes)
        self.decoder = RecurrentDecoder(
            len(vocabulary),
            config.embedding_size,
            config.hidden_size,
            config.value_size,
            attention,
            config.gate,
            config.feed,
            config.dropout,
        )

    def finish(self, generation: Generation, hypothesis: Hypothesis, item: Item) -> Generation:
        """The caption with its confidence."""
        if self.config.confidence is None:
            return generation
        return replace(generation, confidence=caption_confidence(generation.log_probs, self.config.confidence))

    def is_out_of_domain(self, item: Item, generation: Generation) -> bool:
        """Whether what the caption names is more likely wrong than right."""
        return generation.confidence is not None and generation.confidence < UNSURE

    @abstractmethod
    def recall(self, features: Any, cut: int) -> Memory:
        """The memory of cached features, which are the input of encoder stage ``cut``."""


class CaptionModel(Captioner):
    """A captioning model of photos."""

    def example(self) -> Item:
        """An example item, for inspecting the architecture."""
        return Item("example", Image.new("RGB", (self.config.image_size, self.config.image_size), "grey"))

    def collate(self, items: Sequence[Item]) -> Tensor | FeatureMaps:
        """Photos as bytes (batch, 3, image_size, image_size), or the ``FeatureMaps`` of items with such conditions."""
        kept = [item.condition for item in items if isinstance(item.condition, FeatureMaps)]
        if kept:
            maps = torch.from_numpy(np.stack([one.maps for one in kept]))
            return FeatureMaps(maps.permute(0, 3, 1, 2), kept[0].stage)
        return torch.stack([torch.as_tensor(resize(_load_photo(item), self.config.image_size)) for item in items])

    def condition(self, item: Item) -> Any:
        """The photo that attention maps are drawn on."""
        return _load_photo(item)

    def parts(self, item: Item) -> tuple[Axis, ...]:
        """Cells of a grid over the photo, of 32 pixels each."""
        side = self.config.image_size // CELL
        return Axis.numbered("row", "grid", side), Axis.numbered("column", "grid", side)

    def occlude(self, item: Item, hidden: NDArray[np.bool_]) -> list[Item]:
        """Copies of the photo with cells painted over."""
        size = self.config.image_size
        return [replace(item, condition=one) for one in hide_cells(_load_photo(item), size, size // CELL, hidden)]

    def encode(self, batch: Tensor | FeatureMaps) -> Memory:
        """A memory of the feature map's cells, row by row, from photos as bytes or cached maps."""
        if isinstance(batch, FeatureMaps):
            return self.recall(batch.maps, batch.stage)
        pixels = normalise(batch.to(self.decoder.bias.device)).contiguous(memory_format=torch.channels_last)
        return self.memorise(self.encoder(pixels))

    def recall(self, features: Tensor, cut: int) -> Memory:
        """The memory of cached inputs of encoder stage ``cut``, (photos, channels, h, w)."""
        return self.memorise(self.encoder(features.float(), cut))

    def memorise(self, features: Tensor) -> Memory:
        """The memory of feature maps (batch, 1280, h, w): ``sat`` keeps every cell, ``nic`` their mean."""
        batch, _, height, width = features.shape
        cells = features.flatten(2).transpose(1, 2)
        if self.decoder.attention is None:
            vector = self.project(cells.mean(1))
            return Memory(vector.unsqueeze(1), vector=vector)
        values = self.project(cells)
        axes = (Axis.numbered("row", "grid", height), Axis.numbered("column", "grid", width))
        vector = values.mean(1)
        return Memory(values, self.decoder.attention.keys(values), axes=[axes] * batch, vector=vector)


def _load_photo(item: Item) -> Image.Image:
    # of an animated picture, the first frame is used
    if isinstance(item.condition, ClipSource) and not (isinstance(item.condition, Source) and is_picture(item.condition)):
        raise InputError(f"{item.source or item.id} is a video, and this model describes photos", "--model sat-video")
    return load_image(item.condition)


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> CaptionModel:
    """The model of a manifest entry or a run, without its weights.

    Raises:
        UsageError: for unknown or impossible options.
    """
    parsed = check(CaptionConfig, config, source="caption model")
    return CaptionModel(parsed, WordVocabulary.load(files[VOCABULARY_FILE]))


def build_encoder(config: Mapping[str, Any], files: Mapping[str, Path]) -> CaptionModel:
    """Refuse to run a bare encoder, which is a part of caption models and the start of their training.

    Raises:
        UsageError: always.
    """
    raise UsageError("an encoder alone writes no captions; it is a start for training", "condgen list")
