"""Training of the models of photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from condgen_caption.captioner_training import CaptionerExperiment
from condgen_caption.cnn import STAGES
from condgen_caption.features import cached_maps
from condgen_caption.model import VOCABULARY_FILE, CaptionConfig, CaptionModel, FeatureMaps
from condgen_caption.objective import ObjectiveOptions, TrainingBatch, make_objective
from condgen_cli import training
from condgen_cli.data.text import WordVocabulary
from condgen_cli.model import Item
from condgen_cli.training import check
from condgen_cli.training.batches import teacher_forcing

__all__ = ["CaptionExperiment"]

SIDES = frozenset({"left", "right"})
"""Words that are wrong for a mirrored photo."""


class DataOptions(training.DataOptions):
    """``[data]``.

    Args:
        min_count: minimum count of a word in the training captions; rarer words are unknown.
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
        train, dev = self.read("train"), self.read("dev")
        captions = (caption for item in train for caption in item.references)
        vocabulary = self.initial.vocabulary(
            VOCABULARY_FILE, WordVocabulary.load, lambda: WordVocabulary.build(captions, self.data.min_count)
        )
        self.model = CaptionModel(config, vocabulary)
        self.initial.load_into(self.model, optional=("project.", "decoder."))
        cut = min(self.options.train_from, len(STAGES))
        self.maps = self._maps(train, cut, mirrored=False, what="training photos")
        self.mirrored = self._maps(train, cut, mirrored=True, what="mirrored photos") if self.data.mirror else None
        dev_maps = self._maps(dev, cut, mirrored=False, what="dev photos")
        self.dev = [replace(item, condition=FeatureMaps(maps, cut)) for item, maps in zip(dev, dev_maps, strict=True)]
        self._freeze(cut)
        self._prepare_captions(train)
        self.objective = make_objective(self.model, cut, self.options, self.captions, self.decoding.max_length)

    def plan(self, epoch: int, rng: np.random.Generator) -> Sequence[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        """Batches of indices of photos with captions of similar length, and whether each photo is mirrored."""
        order = np.array(super().plan(epoch, rng))
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

    def _maps(self, items: Sequence[Item], cut: int, mirrored: bool, what: str) -> NDArray[np.float16]:
        return cached_maps(self.model.encoder, cut, self.model.config.image_size, items, mirrored, what)

    def _freeze(self, cut: int) -> None:
        encoder = self.model.encoder
        encoder.requires_grad_(False)
        if self.options.train_from <= len(STAGES):
            for part in (*encoder.stages[cut:], encoder.head):
                part.requires_grad_(True)

    def _prepare_captions(self, train: Sequence[Item]) -> None:
        """Token ids of each photo's captions, longest first, as the decoder packs them."""
        encode, limit = self.model.vocabulary.encode, self.data.max_length
        self.captions = [sorted((encode(text)[:limit] for text in item.references), key=len, reverse=True) for item in train]
        fewest = min(map(len, self.captions))
        self.captions = [photo[:fewest] for photo in self.captions]
        self.sizes = np.array([sum(map(len, photo)) for photo in self.captions])
        words = self.model.vocabulary.words
        self.sided = np.array([any(SIDES & set(words(text)) for text in item.references) for item in train])


def _as_tensor(maps: NDArray[np.float16]) -> torch.Tensor:
    """Maps (photos, h, w, channels) as (photos, channels, h, w) with channels last in memory."""
    return torch.from_numpy(np.array(maps)).permute(0, 3, 1, 2)
