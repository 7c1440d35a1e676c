"""Captioning models for video clips: the vectors of some frames become a memory, and the decoder of photos writes the caption.

* ``sat``: attention over frames (Yao et al. 2015, https://arxiv.org/abs/1502.08029, section 3.2).
* ``nic``: the mean of the frames as one vector (Venugopalan et al. 2015, https://arxiv.org/abs/1412.4729).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from pydantic import Field
from torch import Tensor, nn

from condgen_caption.cnn import frame_vectors
from condgen_caption.model import VOCABULARY_FILE, CaptionConfig, Captioner
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
    """Options of the models of clips: those of ``CaptionConfig``, of which ``image_size`` is a frame's, and

    Args:
        frames: that are read of a clip, at most.
        recurrent_size: in each direction, of a bidirectional GRU that runs over the frames and adds what it finds to their
            vectors, so that they know of each other and of their order; 0: none.
    """

    image_size: int = Field(224, ge=32, le=1024)
    frames: int = Field(16, ge=1)
    recurrent_size: int = Field(0, ge=0)


class Frames(NamedTuple):
    """The frames of some clips.

    Args:
        pixels: (frames of all clips, 3, image_size, image_size) bytes.
        counts: (clips,) frames of each.
        times: of each clip's frames, in seconds.
    """

    pixels: Tensor
    counts: Tensor
    times: tuple[tuple[float, ...], ...]


class FrameVectors(NamedTuple):
    """What the encoder makes of them.

    Args:
        vectors: (clips, frames, 1280), any numbers beyond a clip's count; (frames, 1280) of one clip.
        counts: (clips,) frames of each, at least 1, on the CPU.
    """

    vectors: Tensor
    counts: Tensor


class VideoModel(Captioner):
    """The whole path from clip to words."""

    config: VideoConfig

    def __init__(self, config: VideoConfig, vocabulary: WordVocabulary) -> None:
        super().__init__(config, vocabulary)
        size = config.recurrent_size
        self.recurrent = nn.GRU(config.value_size, size, batch_first=True, bidirectional=True) if size else None
        self.merge = nn.Linear(2 * size, config.value_size) if size else None

    def example(self) -> Item:
        """An item of the right shape, for looking at the architecture."""
        count, side = self.config.frames, self.config.image_size
        still = Image.new("RGB", (side, side), "grey")
        return Item("example", Clip((still,) * count, tuple(map(float, range(count))), float(count)))

    def collate(self, items: Sequence[Item]) -> Frames | FrameVectors:
        """Frames of all clips, each as often as it is shown; of items whose conditions are ``FrameVectors``, these."""
        kept = [item.condition.vectors for item in items if isinstance(item.condition, FrameVectors)]
        if kept:
            counts = torch.tensor([len(vectors) for vectors in kept])
            return FrameVectors(nn.utils.rnn.pad_sequence(kept, batch_first=True), counts)
        clips = [load_clip(item.condition, self.config.frames) for item in items]
        pixels = [torch.as_tensor(resize(frame, self.config.image_size)) for clip in clips for frame in clip.frames]
        counts = torch.tensor([len(clip.frames) for clip in clips])
        return Frames(torch.stack(pixels), counts, tuple(clip.times for clip in clips))

    def condition(self, item: Item) -> Clip:
        """The frames that attention is drawn on."""
        return load_clip(item.condition, self.config.frames)

    def finish(self, generation: Generation, hypothesis: Hypothesis, item: Item) -> Generation:
        """The caption, with what was wrong with a clip that was given decoded."""
        told = item.condition.warnings if isinstance(item.condition, Clip) else ()
        return replace(generation, warnings=(*told, *generation.warnings))

    def encode(self, batch: Frames | FrameVectors) -> Memory:
        """Frames of clips, or their vectors, to a memory with one position for each frame."""
        if isinstance(batch, FrameVectors):
            return self.recall(batch)
        counts = batch.counts.tolist()
        vectors = frame_vectors(self.encoder, batch.pixels.to(self.decoder.bias.device))
        padded = nn.utils.rnn.pad_sequence(list(torch.split(vectors, counts)), batch_first=True)
        memory = self.recall(FrameVectors(padded, batch.counts.cpu()))
        return memory if memory.mask is None else replace(memory, axes=[(Axis("frame", "frames", t),) for t in batch.times])

    def recall(self, features: FrameVectors, cut: int = 0) -> Memory:
        """The memory of vectors; all of the encoder lies before what is kept of a clip, so there is nothing to cut."""
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
        """Values (clips, frames, value_size) with what the frames before and after each of them tell."""
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
