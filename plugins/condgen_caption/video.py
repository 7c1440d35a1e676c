"""Captioning models for video clips: the memory holds the vectors of frames, the decoder is that of photos.

* ``sat``: attention over frames (Yao et al. 2015, https://arxiv.org/abs/1502.08029, section 3.2).
* ``nic``: the mean of the frames as one vector (Venugopalan et al. 2015, https://arxiv.org/abs/1412.4729).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from torch import Tensor, nn

from condgen_caption.cnn import frame_vectors
from condgen_caption.model import VOCABULARY_FILE, CaptionConfig, Captioner
from condgen_caption.occlusion import hide_frames
from condgen_cli.data.image import resize
from condgen_cli.data.text import WordVocabulary
from condgen_cli.data.video import Clip, load_clip
from condgen_cli.generation import Axis, Generation
from condgen_cli.model import Item, Memory
from condgen_cli.nn.recurrent import run
from condgen_cli.running.decoding import Hypothesis
from condgen_cli.training import check

__all__ = ["FrameVectors", "Frames", "VideoConfig", "VideoModel", "build"]


class VideoConfig(CaptionConfig):
    """Options of the models of clips; other options as in ``CaptionConfig``.

    Args:
        image_size: side in pixels of the square that frames are resized to.
        frames: largest number of frames read of a clip.
        recurrent_size: units in each direction of a bidirectional GRU over the frames, whose output is added to their vectors,
            so that they depend on other frames and their order; 0: none.
    """

    image_size: int = Field(224, ge=32, le=1024)
    frames: int = Field(16, ge=1)
    recurrent_size: int = Field(0, ge=0)


class Frames(NamedTuple):
    """The frames of a batch of clips.

    Args:
        pixels: (frames of all clips, 3, image_size, image_size) bytes.
        counts: (clips,) number of frames.
        times: times of each clip's frames, in seconds.
    """

    pixels: Tensor
    counts: Tensor
    times: tuple[tuple[float, ...], ...]


class FrameVectors(NamedTuple):
    """The encoder's vectors of frames.

    Args:
        vectors: (clips, frames, 1280) vectors, arbitrary at padding; (frames, 1280) for one clip.
        counts: (clips,) number of frames, at least 1, on the CPU.
    """

    vectors: Tensor
    counts: Tensor


class VideoModel(Captioner):
    """A captioning model of clips."""

    config: VideoConfig

    def __init__(self, config: VideoConfig, vocabulary: WordVocabulary) -> None:
        super().__init__(config, vocabulary)
        size = config.recurrent_size
        self.recurrent = nn.GRU(config.value_size, size, batch_first=True, bidirectional=True) if size else None
        self.merge = nn.Linear(2 * size, config.value_size) if size else None

    def example(self) -> Item:
        """An example item, for inspecting the architecture."""
        count, side = self.config.frames, self.config.image_size
        still = Image.new("RGB", (side, side), "grey")
        return Item("example", Clip((still,) * count, tuple(map(float, range(count))), float(count)))

    def collate(self, items: Sequence[Item]) -> Frames | FrameVectors:
        """Frames of all clips, or the ``FrameVectors`` of items with such conditions."""
        kept = [item.condition.vectors for item in items if isinstance(item.condition, FrameVectors)]
        if kept:
            counts = torch.tensor([len(vectors) for vectors in kept])
            return FrameVectors(nn.utils.rnn.pad_sequence(kept, batch_first=True), counts)
        clips = [load_clip(item.condition, self.config.frames) for item in items]
        pixels = [torch.as_tensor(resize(frame, self.config.image_size)) for clip in clips for frame in clip.frames]
        counts = torch.tensor([len(clip.frames) for clip in clips])
        return Frames(torch.stack(pixels), counts, tuple(clip.times for clip in clips))

    def condition(self, item: Item) -> Clip:
        """The frames that attention maps are drawn on."""
        return load_clip(item.condition, self.config.frames)

    def parts(self, item: Item) -> tuple[Axis, ...]:
        """The frames that are read."""
        return (Axis("frame", "frames", self.condition(item).times),)

    def occlude(self, item: Item, hidden: NDArray[np.bool_]) -> list[Item]:
        """Copies of the clip with frames painted over."""
        return [replace(item, condition=one) for one in hide_frames(self.condition(item), hidden)]

    def finish(self, generation: Generation, hypothesis: Hypothesis, item: Item) -> Generation:
        """The caption with its confidence, and the warnings of a clip that was given decoded."""
        generation = super().finish(generation, hypothesis, item)
        warnings = item.condition.warnings if isinstance(item.condition, Clip) else ()
        return replace(generation, warnings=(*warnings, *generation.warnings))

    def encode(self, batch: Frames | FrameVectors) -> Memory:
        """A memory with one position for each frame, from frames or their vectors."""
        if isinstance(batch, FrameVectors):
            return self.recall(batch)
        counts = batch.counts.tolist()
        vectors = frame_vectors(self.encoder, batch.pixels.to(self.decoder.bias.device))
        padded = nn.utils.rnn.pad_sequence(list(torch.split(vectors, counts)), batch_first=True)
        memory = self.recall(FrameVectors(padded, batch.counts.cpu()))
        return memory if memory.mask is None else replace(memory, axes=[(Axis("frame", "frames", t),) for t in batch.times])

    def recall(self, features: FrameVectors, cut: int = 0) -> Memory:
        """The memory of cached vectors, the output of the whole encoder; ``cut`` is ignored."""
        counts = features.counts.to(features.vectors.device)
        real = torch.arange(features.vectors.shape[1], device=counts.device) < counts.unsqueeze(1)
        vectors = torch.where(real.unsqueeze(2), features.vectors.float(), 0.0)
        if self.decoder.attention is None:
            vector = self._add_context(
                self.project(vectors.sum(1, keepdim=True) / counts.view(-1, 1, 1)), torch.ones_like(counts)
            )
            return Memory(vector, vector=vector.squeeze(1))
        values = self._add_context(self.project(vectors), features.counts)
        vector = (values * real.unsqueeze(2)).sum(1) / counts.unsqueeze(1)
        return Memory(values, self.decoder.attention.keys(values), real, vector=vector)

    def _add_context(self, values: Tensor, counts: Tensor) -> Tensor:
        """Values (clips, frames, value_size) plus the recurrent layer's output for them."""
        if self.recurrent is None or self.merge is None:
            return values
        return values + self.merge(run(self.recurrent, values, counts)[0])


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> VideoModel:
    """The model of a manifest entry or a run, without its weights.

    Raises:
        UsageError: for unknown or impossible options.
    """
    parsed = check(VideoConfig, config, source="video caption model")
    return VideoModel(parsed, WordVocabulary.load(files[VOCABULARY_FILE]))
