"""Training of the models of photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from condgen_caption.captioner_training import CaptionerExperiment
from condgen_caption.cnn import STAGES
from condgen_caption.features import cached_maps
from condgen_caption.model import CaptionConfig, CaptionModel, FeatureMaps
from condgen_caption.objective import ObjectiveOptions, TrainingBatch, make_objective
from condgen_cli.model import Item
from condgen_cli.training import check
from condgen_cli.training.batches import batches_of_like_length, teacher_forcing
from condgen_cli.training.mixture import MixtureOptions, Part, take_epoch

__all__ = ["CaptionExperiment"]

SIDES = frozenset({"left", "right"})
"""Words that are wrong for a mirrored photo."""


class DataOptions(MixtureOptions):
    """``[data]``.

    Args:
        min_count: minimum count of a word in the training captions; rarer words are unknown, unless the initial model has them.
        max_length: length in tokens to which training captions are truncated.
        mirror: whether photos are mirrored half of the time, unless a caption mentions left or right.
    """

    min_count: int = Field(5, ge=1)
    max_length: int = Field(24, ge=2)
    mirror: bool = True


class PhotoObjectiveOptions(ObjectiveOptions):
    """``[objective]`` of photos.

    Args:
        train_from: first encoder stage that is trained (0 is the first, 7 the head); 8: the encoder is frozen.
    """

    doubly_stochastic: float = Field(0.1, ge=0)
    train_from: int = Field(len(STAGES) + 1, ge=1, le=len(STAGES) + 1)


class CaptionExperiment(CaptionerExperiment):
    """Trains models of photos, on photos with all their captions.

    ``init`` names the encoder's weights or an initial model. Outputs of the encoder's frozen stages are computed once and
    cached for all runs.
    """

    data_options = DataOptions
    objective_options = PhotoObjectiveOptions
    unit = "photos"

    data: DataOptions
    options: PhotoObjectiveOptions
    model: CaptionModel

    def prepare(self) -> None:
        config = check(CaptionConfig, self.recipe.model.options, "model")
        self.check_initial()
        sources = self.data.sources
        splits = [self.read("train", source) for source in sources]
        train = [item for split in splits for item in split]
        captions = [caption for item in train for caption in item.references]
        self.model = CaptionModel(config, self.make_vocabulary(captions, self.data.min_count))
        self.load_initial(optional=("project.", "decoder."))
        cut = min(self.options.train_from, len(STAGES))
        self.maps = self._maps(train, cut, mirrored=False, what="training photos")
        self.mirrored = self._maps(train, cut, mirrored=True, what="mirrored photos") if self.data.mirror else None
        self.dev = self._recall(self.read("dev"), cut)
        self.more_dev = {source.label: self._recall(self.read("dev", source), cut) for source in self.data.more if source.dev}
        self._freeze(cut)
        self._prepare_captions(train)
        starts = np.cumsum([0, *map(len, splits)]).tolist()
        self.parts = [
            Part(start, len(split), source.weight, [self.recipe.seed, place])
            for place, (start, split, source) in enumerate(zip(starts, splits, sources, strict=False))
        ]
        self.objective = make_objective(self.model, cut, self.options, self.captions, self.decoding.max_length)

    def plan(self, epoch: int, rng: np.random.Generator) -> Sequence[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        """Batches of indices of photos with captions of similar length, and whether each photo is mirrored."""
        taken = take_epoch(self.parts, epoch)
        order = taken[np.array(list(batches_of_like_length(self.sizes[taken], self.recipe.training.batch_size, rng)))]
        mirror = rng.random(order.shape) < 0.5
        mirror = mirror & ~self.sided[order] if self.data.mirror else np.zeros_like(mirror)
        return list(zip(order, mirror, strict=True))

    def batch(self, part: tuple[NDArray[np.int64], NDArray[np.bool_]], rng: np.random.Generator) -> TrainingBatch:
        """A batch of photos with all their captions."""
        photos, mirror = part
        vocabulary = self.model.vocabulary
        maps = self.maps[photos]
        if self.mirrored is not None and mirror.any():
            maps[mirror] = self.mirrored[photos[mirror]]
        captions = [caption for photo in photos for caption in self.captions[photo]]
        inputs, targets, lengths = teacher_forcing(captions, vocabulary.bos, vocabulary.eos, vocabulary.pad)
        return TrainingBatch(_as_tensor(maps), inputs, targets, lengths, torch.from_numpy(photos))

    def _recall(self, items: Sequence[Item], cut: int) -> list[Item]:
        """Items with their cached maps as conditions."""
        maps = self._maps(items, cut, mirrored=False, what="dev photos")
        return [replace(item, condition=FeatureMaps(one, cut)) for item, one in zip(items, maps, strict=True)]

    def _maps(self, items: Sequence[Item], cut: int, mirrored: bool, what: str) -> NDArray[np.float16]:
        return cached_maps(self.model.encoder, cut, self.model.config.image_size, items, mirrored, what)

    def _freeze(self, cut: int) -> None:
        encoder = self.model.encoder
        encoder.requires_grad_(False)
        if self.options.train_from <= len(STAGES):
            for part in (*encoder.stages[cut:], encoder.head):
                part.requires_grad_(True)

    def _prepare_captions(self, train: Sequence[Item]) -> None:
        """Token ids of each photo's captions, longest first, as the decoder packs them.

        Every photo has as many as most photos have: others repeat theirs, or leave some out.
        """
        encode, limit = self.model.vocabulary.encode, self.data.max_length
        count = Counter(len(item.references) for item in train).most_common(1)[0][0]
        texts = [list(islice(cycle(item.references), count)) for item in train]
        self.captions = [sorted((encode(text)[:limit] for text in some), key=len, reverse=True) for some in texts]
        self.sizes = np.array([sum(map(len, photo)) for photo in self.captions])
        words = self.model.vocabulary.words
        self.sided = np.array([any(SIDES & set(words(text)) for text in item.references) for item in train])


def _as_tensor(maps: NDArray[np.float16]) -> torch.Tensor:
    """Maps (photos, h, w, channels) as (photos, channels, h, w) with channels last in memory."""
    return torch.from_numpy(np.array(maps)).permute(0, 3, 1, 2)
