"""Captioning models: a photo becomes a memory, a recurrent decoder writes its caption.

* ``sat``, Show, Attend and Tell (Xu et al. 2015): soft attention over the last feature map before pooling.
* ``nic``, Show and Tell (Vinyals et al. 2015): the pooled feature map as one vector.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from condgen_caption.cnn import HEAD_CHANNELS, EfficientNetLite, normalise
from condgen_cli.data.clip import ClipSource
from condgen_cli.data.content import is_picture
from condgen_cli.data.image import load_image, resize
from condgen_cli.data.text import WordVocabulary
from condgen_cli.errors import InputError, UsageError
from condgen_cli.files.sources import Source
from condgen_cli.generation import Axis
from condgen_cli.model import Item, Memory
from condgen_cli.nn import DecoderModel, RecurrentDecoder, make_attention
from condgen_cli.training import check

__all__ = ["CaptionConfig", "CaptionModel", "Captioner", "build", "build_encoder"]

VOCABULARY_FILE = "vocabulary.json"


class CaptionConfig(BaseModel):
    """Options of the caption models.

    Args:
        kind: ``sat`` attends over the feature map, ``nic`` reads the pooled vector.
        encoder: a variant of EfficientNet-Lite.
        image_size: side of the square that photos are resized to, without keeping their aspect.
        embedding_size, hidden_size: of the decoder.
        value_size: feature vectors are projected to this size before they are attended to or fed.
        match: name of a match function, or ``module:Class`` (see ``match_function``).
        match_size: of the match function's own hidden layer.
        query_hidden: size of a further layer on the decoder state before matching; 0 for none.
        gate: the gate β of Xu et al. 2015; ``sat`` only.
        feed: ``every`` step reads the vector, or the ``first`` only; ``nic`` only.
        dropout: in the decoder. feature_dropout: on projected feature vectors.
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


class FeatureMaps(NamedTuple):
    """What the encoder's earlier stages make of photos, kept while these stages don't change.

    Args:
        maps: (photos, channels, height, width); of one photo an array (height, width, channels).
        stage: the encoder's stage that comes next.
    """

    maps: Any
    stage: int


class Captioner(DecoderModel):
    """What models of photos and of clips have: an encoder of pictures, a projection of its vectors, a decoder of words.

    Args:
        config: its options.
        vocabulary: the words that it writes.
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

    @abstractmethod
    def recall(self, features: Any, cut: int) -> Memory:
        """The memory of what is kept of inputs while the encoder isn't trained, up to its stage ``cut``."""


class CaptionModel(Captioner):
    """The whole path from photo to words."""

    def example(self) -> Item:
        """An item of the right shape, for looking at the architecture."""
        return Item("example", Image.new("RGB", (self.config.image_size, self.config.image_size), "grey"))

    def collate(self, items: Sequence[Item]) -> Tensor | FeatureMaps:
        """Photos as bytes (batch, 3, image_size, image_size); of items whose conditions are ``FeatureMaps``, these."""
        kept = [item.condition for item in items if isinstance(item.condition, FeatureMaps)]
        if kept:
            maps = torch.from_numpy(np.stack([one.maps for one in kept]))
            return FeatureMaps(maps.permute(0, 3, 1, 2), kept[0].stage)
        return torch.stack([torch.as_tensor(resize(_photo(item), self.config.image_size)) for item in items])

    def condition(self, item: Item) -> Any:
        """The photo that the maps are drawn on."""
        return _photo(item)

    def encode(self, batch: Tensor | FeatureMaps) -> Memory:
        """Photos as bytes, or what is kept of them, to a memory of the feature map's cells, row by row."""
        if isinstance(batch, FeatureMaps):
            return self.recall(batch.maps, batch.stage)
        pixels = normalise(batch.to(self.decoder.bias.device)).contiguous(memory_format=torch.channels_last)
        return self.memorise(self.encoder(pixels))

    def recall(self, features: Tensor, cut: int) -> Memory:
        """The memory of what was kept of photos: the input of encoder stage ``cut`` (photos, channels, h, w)."""
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


def _photo(item: Item) -> Image.Image:
    # the first frame of a picture that moves may pass for a photo
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
    """Refuse to run a bare encoder: its zoo entry is a part of caption models, and where their training starts.

    Raises:
        UsageError: always.
    """
    raise UsageError("an encoder alone writes no captions: it is what their training starts from", "condgen list")
