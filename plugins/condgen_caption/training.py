"""Training of the caption models: what the core's loop asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from condgen_caption.cnn import STAGES
from condgen_caption.features import cached_maps
from condgen_caption.model import VOCABULARY_FILE, CaptionConfig, CaptionModel
from condgen_caption.objective import ObjectiveOptions, TrainingBatch, make_objective
from condgen_cli.data.text import WordVocabulary
from condgen_cli.decoding import decode
from condgen_cli.errors import UsageError
from condgen_cli.generation import Generation
from condgen_cli.metrics.suite import build_suite
from condgen_cli.model import Item
from condgen_cli.plugins import manager
from condgen_cli.runner import initial_files
from condgen_cli.training import Recipe, check
from condgen_cli.training.initial import check_initial, initial_weights
from condgen_cli.training.sequences import batches_of_like_length, dev_scores, export, teacher_forcing
from condgen_cli.training.splits import read_split

__all__ = ["CaptionExperiment"]

SIDES = frozenset({"left", "right"})
"""Words that a mirrored photo makes wrong."""


class DataOptions(BaseModel):
    """``[data]`` beside the data set's name and its own options.

    Args:
        options: the data set's own.
        min_count: words seen less often in the training captions are unknown.
        max_length: longer training captions are cut.
        mirror: half of the time show a photo mirrored, unless a caption speaks of left or right.
        photos: how many of the training photos are used; 0 for all.
        dev_photos: how many of the dev split are decoded at each evaluation; 0 for all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    options: dict[str, str] = {}
    min_count: int = Field(5, ge=1)
    max_length: int = Field(24, ge=2)
    mirror: bool = True
    photos: int = Field(0, ge=0)
    dev_photos: int = Field(0, ge=0)


class PhotoObjectiveOptions(ObjectiveOptions):
    """``[objective]`` of photos.

    Args:
        train_from: the first encoder stage (0 the first, 7 the head) that is trained; 8: the encoder stays as it is.
    """

    doubly_stochastic: float = Field(0.1, ge=0)
    train_from: int = Field(len(STAGES) + 1, ge=1, le=len(STAGES) + 1)


class CaptionExperiment:
    """Implements ``condgen_cli.training.Experiment``.

    Args:
        recipe: ``[model]`` are fields of ``CaptionConfig``; ``init`` names the encoder's weights or a model to go on from.
        data_dir: where the data set lies.
        run_dir: unused; features are cached for all runs together.
    """

    def __init__(self, recipe: Recipe, data_dir: Path | None, run_dir: Path) -> None:
        self.recipe = recipe
        config = check(CaptionConfig, recipe.model.options, "model")
        self.data = check(DataOptions, recipe.data.model_dump(), "data")
        self.options = check(PhotoObjectiveOptions, recipe.objective, "objective")
        train = read_split(self.data.dataset, "train", data_dir, self.data.options, self.data.photos)
        self.dev = read_split(self.data.dataset, "dev", data_dir, self.data.options, self.data.dev_photos)
        initial, vocabulary = self._initial(train)
        self.model = CaptionModel(config, vocabulary)
        self._load(initial)
        cut = min(self.options.train_from, len(STAGES))
        self.maps = self._maps(train, cut, mirrored=False, what="training photos")
        self.mirrored = self._maps(train, cut, mirrored=True, what="mirrored photos") if self.data.mirror else None
        self.dev_maps = self._maps(self.dev, cut, mirrored=False, what="dev photos")
        self._freeze(cut)
        self._prepare_captions(train)
        self.cut = cut
        self.decoding = recipe.make_decoding()
        self.objective = make_objective(self.model, cut, self.options, self.captions, self.decoding.max_length)
        task = manager().tasks[recipe.task]
        self.metrics = build_suite(task.metrics, manager().metrics)

    @property
    def dev_metrics(self) -> tuple[str, ...]:
        """What ``evaluate`` gives."""
        return self.metrics.keys

    @property
    def material(self) -> str:
        """What is trained on, counted."""
        return f"{len(self.sizes):,} photos"

    def batches(self, epoch: int) -> _Epoch:
        """Photos in an order of the seed and the epoch, each with all its captions."""
        rng = np.random.default_rng([self.recipe.seed, epoch])
        order = batches_of_like_length(self.sizes, self.recipe.training.batch_size, rng)
        mirror = rng.random(order.shape) < 0.5
        return _Epoch(self, order, mirror & ~self.sided[order] if self.data.mirror else np.zeros_like(mirror))

    def evaluate(self) -> dict[str, float]:
        """Free-running scores on the dev photos."""
        generations: list[Generation] = []
        for start in range(0, len(self.dev), 50):
            maps = _as_tensor(self.dev_maps[start : start + 50]).to(self.model.decoder.bias.device)
            memory = self.model.memorise(self.model.encoder(maps.float(), self.cut))
            decoded = decode(self.model, memory, self.decoding)
            generations += [Generation(self.model.vocabulary.decode(found[0].ids)) for found in decoded]
        return dev_scores(self.metrics, self.dev, generations)

    def export(self, directory: Path) -> None:
        """The model as ``load`` reads it, the encoder in a file of its own."""
        vocabularies = {VOCABULARY_FILE: self.model.vocabulary}
        export(directory, self.recipe, self.model, self.model.config, vocabularies, {"encoder.safetensors": "encoder."})

    def _initial(self, train: Sequence[Item]) -> tuple[dict[str, torch.Tensor], WordVocabulary]:
        """Weights to start from; and the vocabulary, theirs if they have one, else that of the training captions."""
        if self.recipe.init is None:
            raise UsageError("recipe: init: missing; the encoder's weights come from it", "init = 'efficientnet-lite2'")
        files = initial_files(self.recipe.init)
        weights = initial_weights(files)
        if VOCABULARY_FILE in files:
            return weights, WordVocabulary.load(files[VOCABULARY_FILE])
        captions = [caption for item in train for caption in item.references]
        return weights, WordVocabulary.build(captions, self.data.min_count)

    def _load(self, weights: dict[str, torch.Tensor]) -> None:
        own = self.model.state_dict()
        check_initial(own, str(self.recipe.init), weights, [name for name in own if name.startswith("encoder.")])
        self.model.load_state_dict(weights, strict=False)

    def _maps(self, items: Sequence[Item], cut: int, mirrored: bool, what: str) -> NDArray[np.float16]:
        return cached_maps(self.model.encoder, cut, self.model.config.image_size, items, mirrored, what)

    def _freeze(self, cut: int) -> None:
        encoder = self.model.encoder
        encoder.requires_grad_(False)
        if self.options.train_from <= len(STAGES):
            for part in (*encoder.stages[cut:], encoder.head):
                part.requires_grad_(True)

    def _prepare_captions(self, train: Sequence[Item]) -> None:
        """Token ids of each photo's captions, longest first as the decoder likes them."""
        encode, limit = self.model.vocabulary.encode, self.data.max_length
        self.captions = [sorted((encode(text)[:limit] for text in item.references), key=len, reverse=True) for item in train]
        fewest = min(map(len, self.captions))
        self.captions = [photo[:fewest] for photo in self.captions]
        self.sizes = np.array([sum(map(len, photo)) for photo in self.captions])
        words = self.model.vocabulary.words
        self.sided = np.array([any(SIDES & set(words(text)) for text in item.references) for item in train])


class _Epoch:
    """The batches of one epoch, made as they are asked for."""

    def __init__(self, experiment: CaptionExperiment, order: NDArray[np.int64], mirror: NDArray[np.bool_]) -> None:
        self.experiment = experiment
        self.order = order
        self.mirror = mirror

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[TrainingBatch]:
        own = self.experiment
        vocabulary = own.model.vocabulary
        for photos, mirror in zip(self.order, self.mirror, strict=True):
            maps = own.maps[photos]
            if own.mirrored is not None and mirror.any():
                maps[mirror] = own.mirrored[photos[mirror]]
            captions = [caption for photo in photos for caption in own.captions[photo]]
            inputs, targets, lengths = teacher_forcing(captions, vocabulary.bos, vocabulary.eos, vocabulary.pad)
            yield TrainingBatch(_as_tensor(maps), inputs, targets, lengths, torch.from_numpy(photos))


def _as_tensor(maps: NDArray[np.float16]) -> torch.Tensor:
    """(photos, h, w, channels) to (photos, channels, h, w), still channels last in memory."""
    return torch.from_numpy(np.array(maps)).permute(0, 3, 1, 2)
