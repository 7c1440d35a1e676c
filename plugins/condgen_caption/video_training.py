"""Training of the models of clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from condgen_caption.captioner_training import CaptionerExperiment
from condgen_caption.clips import MovingPhotos, PhotoClips
from condgen_caption.features import FrameSource, cached_vectors
from condgen_caption.model import VOCABULARY_FILE
from condgen_caption.objective import ObjectiveOptions, TrainingBatch, make_objective
from condgen_caption.video import FrameVectors, VideoConfig, VideoModel
from condgen_cli import training
from condgen_cli.data.store import open_dataset
from condgen_cli.data.video import load_clip
from condgen_cli.model import Item
from condgen_cli.training import check
from condgen_cli.training.batches import batches_of_like_length, teacher_forcing
from condgen_cli.training.splits import check_items

__all__ = ["VideoExperiment"]

FREQUENT = 0.05
"""Add a word to the initial vocabulary if it occurs in at least this share of captions, as "then" does."""


class DataOptions(training.DataOptions):
    """``[data]``.

    Args:
        scenes: scenes per clip in data sets made of photos; empty: the data set's default.
        min_count: minimum count of a word in the training captions; rarer words are unknown.
        max_length: length in tokens to which training captions are truncated.
    """

    scenes: str = ""
    min_count: int = Field(5, ge=1)
    max_length: int = Field(60, ge=2)


@dataclass(frozen=True)
class _Video:
    """A clip of a data set of videos as a source of at most ``most`` frames."""

    item: Item
    most: int

    @property
    def id(self) -> str:
        return f"{self.item.id}\0{self.item.source}"

    def frames(self) -> Sequence[Image.Image]:
        return load_clip(self.item.condition, self.most).frames


class VideoExperiment(CaptionerExperiment):
    """Trains models of clips, on clips with all their captions.

    ``init`` names the encoder's weights, or an initial model of photos or clips. The encoder is frozen, so each frame's vector
    is computed once. For clips made of photos, these are the camera positions of every photo, from which each epoch makes new
    clips.
    """

    data_options = DataOptions
    objective_options = ObjectiveOptions
    unit = "clips"

    data: DataOptions
    options: ObjectiveOptions
    model: VideoModel

    def prepare(self) -> None:
        config = check(VideoConfig, self.recipe.model.options, "model")
        self.check_initial()
        self.train = self._open("train", self.data.limit)
        dev = self._open("dev", self.data.dev_limit)
        captions = [caption for item in self.train for caption in item.references]
        known = VOCABULARY_FILE in self.initial.files
        self.model = VideoModel(
            config, self.make_vocabulary(captions, max(1, round(FREQUENT * len(captions))) if known else self.data.min_count)
        )
        # a model without attention has no use for its weights
        drop = () if config.kind == "sat" else ("decoder.attention.", "decoder.gate.")
        self.load_initial(optional=("project.", "decoder.", "recurrent.", "merge."), drop=drop)
        self.model.encoder.requires_grad_(False)
        self.vectors = self._vectors(self.train, "training frames")
        vectors = self._vectors(dev, "dev frames")
        self.dev = [replace(item, condition=vectors.of_clip(item)) for item in dev]
        corpus = [self.captions(item) for item in self.train]
        self.objective = make_objective(self.model, 0, self.options, corpus, self.decoding.max_length)

    @property
    def material(self) -> str:
        return f"{len(self.train):,} {self.unit}"

    def plan(self, epoch: int, rng: np.random.Generator) -> Sequence[_Part]:
        """Batches of clips with captions of similar length; clips made of photos are new in each epoch."""
        items = list(self.train.redraw(epoch) if isinstance(self.train, PhotoClips) else self.train)
        captions = [self.captions(item) for item in items]
        fewest = min(map(len, captions))
        captions = [some[:fewest] for some in captions]
        sizes = np.array([sum(map(len, some)) for some in captions])
        order = batches_of_like_length(sizes, self.recipe.training.batch_size, rng)
        return [_Part(row, [items[index] for index in row], [captions[index] for index in row]) for row in order]

    def batch(self, part: _Part, rng: np.random.Generator) -> TrainingBatch:
        """A batch of clips with all their captions."""
        vocabulary = self.model.vocabulary
        captions = [caption for some in part.captions for caption in some]
        inputs, targets, lengths = teacher_forcing(captions, vocabulary.bos, vocabulary.eos, vocabulary.pad)
        return TrainingBatch(self.vectors.of(part.items), inputs, targets, lengths, torch.from_numpy(part.places))

    def _open(self, split: str, limit: int) -> Sequence[Item]:
        scenes = {"scenes": self.data.scenes} if self.data.scenes else {}
        opened = open_dataset(self.data.dataset, split, self.data_dir, {**self.data.options, **scenes})
        items: Sequence[Item]
        if isinstance(opened, PhotoClips):
            items = PhotoClips(opened.photos[: limit or None], opened.scenes, opened.seed)
        else:
            items = list(islice(opened, limit or None))
        check_items(items, self.data.dataset, split)
        return items

    def captions(self, item: Item) -> list[list[int]]:
        """Token ids of an item's captions, longest first, as the decoder packs them."""
        encode, limit = self.model.vocabulary.encode, self.data.max_length
        return sorted((encode(text)[:limit] for text in item.references), key=len, reverse=True)

    def _vectors(self, items: Sequence[Item], what: str) -> _Vectors:
        config = self.model.config
        sources: Sequence[FrameSource]
        sources = items.paths() if isinstance(items, PhotoClips) else [_Video(item, config.frames) for item in items]
        cached = cached_vectors(self.model.encoder, config.image_size, sources, what)
        return _Vectors(cached, {source.id: row for row, source in enumerate(sources)}, config.frames)


@dataclass(frozen=True)
class _Part:
    """The clips of a batch: indices in the split, items, and captions of each as token ids."""

    places: NDArray[np.int64]
    items: Sequence[Item]
    captions: Sequence[Sequence[Sequence[int]]]


@dataclass(frozen=True)
class _Vectors:
    """The cached vectors of frames.

    Args:
        cached: (sources, frames, 1280) vectors, see ``cached_vectors``.
        rows: row of each source by its id.
        most: largest number of frames of a clip.
    """

    cached: NDArray[np.float16]
    rows: Mapping[str, int]
    most: int

    def of(self, items: Sequence[Item]) -> FrameVectors:
        """The vectors of clips' frames, as the model would compute them."""
        clips = [self.of_clip(item).vectors for item in items]
        padded = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
        return FrameVectors(padded, torch.tensor([len(clip) for clip in clips]))

    def of_clip(self, item: Item) -> FrameVectors:
        """The vectors of one clip's frames."""
        vectors = torch.from_numpy(self._clip(item))
        return FrameVectors(vectors, torch.tensor(len(vectors)))

    def _clip(self, item: Item) -> NDArray[np.float16]:
        clip: Any = item.condition
        if isinstance(clip, MovingPhotos):
            rows = [self.rows[path.id] for path in clip.paths]
            chosen = clip.select_positions(self.most)
            return self.cached[[rows[scene] for scene, _ in chosen], [position for _, position in chosen]]
        frames = self.cached[self.rows[_Video(item, self.most).id]]
        return np.array(frames[np.isfinite(frames[:, 0])])
