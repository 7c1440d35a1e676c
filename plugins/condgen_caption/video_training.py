"""Training of the models of clips: what the core's loop asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from condgen_caption.clips import MovingPhotos, PhotoClips
from condgen_caption.features import Filmed, cached_vectors
from condgen_caption.model import VOCABULARY_FILE
from condgen_caption.objective import ObjectiveOptions, TrainingBatch, make_objective
from condgen_caption.video import FrameVectors, VideoConfig, VideoModel
from condgen_cli.data.store import open_dataset
from condgen_cli.data.text import WordVocabulary
from condgen_cli.data.video import load_clip
from condgen_cli.decoding import decode
from condgen_cli.errors import UsageError
from condgen_cli.generation import Generation
from condgen_cli.metrics.suite import build_suite
from condgen_cli.model import Item
from condgen_cli.pipeline import batched
from condgen_cli.plugins import manager
from condgen_cli.runner import initial_files
from condgen_cli.training import Recipe, check
from condgen_cli.training.initial import check_initial, initial_weights
from condgen_cli.training.sequences import batches_of_like_length, dev_scores, export, teacher_forcing
from condgen_cli.training.splits import check_items

__all__ = ["VideoExperiment"]

FREQUENT = 0.05
"""Share of the training captions that a word is in which an initial model's vocabulary gets if it lacks it, such as "then"."""


_ATTENDING = ("decoder.attention.", "decoder.gate.")


class DataOptions(BaseModel):
    """``[data]`` beside the data set's name.

    Args:
        options: the data set's own.
        scenes: of data sets made of photos: how many scenes a clip has; empty: the data set's own default.
        min_count: words seen less often in the training captions are unknown.
        max_length: longer training captions are cut.
        clips, dev_clips: how many of the training and dev clips are used; 0 for all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    options: dict[str, str] = {}
    scenes: str = ""
    min_count: int = Field(5, ge=1)
    max_length: int = Field(60, ge=2)
    clips: int = Field(0, ge=0)
    dev_clips: int = Field(0, ge=0)


@dataclass(frozen=True)
class _Video:
    """One clip of a data set of videos."""

    item: Item
    most: int

    @property
    def id(self) -> str:
        return f"{self.item.id}\0{self.item.source}"

    def frames(self) -> Sequence[Image.Image]:
        return load_clip(self.item.condition, self.most).frames


class VideoExperiment:
    """Implements ``condgen_cli.training.Experiment``.

    The encoder stays as it is, so the vector of every frame is computed once: of clips made of photos, of every position of
    the camera over every photo, from which each epoch makes other clips.

    Args:
        recipe: ``[model]`` are fields of ``VideoConfig``; ``init`` names the encoder's weights, or a model of photos or clips
            to go on from.
        data_dir: where the data set lies.
        run_dir: unused; vectors are cached for all runs together.
    """

    def __init__(self, recipe: Recipe, data_dir: Path | None, run_dir: Path) -> None:
        self.recipe = recipe
        config = check(VideoConfig, recipe.model.options, "model")
        self.data = check(DataOptions, recipe.data.model_dump(), "data")
        options = check(ObjectiveOptions, recipe.objective, "objective")
        self.train = self._open("train", data_dir, self.data.clips)
        self.dev = self._open("dev", data_dir, self.data.dev_clips)
        initial, vocabulary = self._initial()
        self.model = VideoModel(config, self._extended(vocabulary))
        self._load(initial, vocabulary)
        self.model.encoder.requires_grad_(False)
        self.vectors = self._vectors(self.train, "training frames")
        self.dev_vectors = self._vectors(self.dev, "dev frames")
        self.decoding = recipe.make_decoding()
        corpus = [self.captions(item) for item in self.train]
        self.objective = make_objective(self.model, 0, options, corpus, self.decoding.max_length)
        self.metrics = build_suite(manager().tasks[recipe.task].metrics, manager().metrics)

    @property
    def dev_metrics(self) -> tuple[str, ...]:
        """What ``evaluate`` gives."""
        return self.metrics.keys

    @property
    def material(self) -> str:
        """What is trained on, counted."""
        return f"{len(self.train):,} clips"

    def batches(self, epoch: int) -> _Epoch:
        """Clips in an order of the seed and the epoch, each with all its captions; if they are made of photos, made anew."""
        items = self.train.redrawn(epoch) if isinstance(self.train, PhotoClips) else self.train
        return _Epoch(self, list(items), np.random.default_rng([self.recipe.seed, epoch]))

    def evaluate(self) -> dict[str, float]:
        """Free-running scores on the dev clips."""
        generations: list[Generation] = []
        device = self.model.decoder.bias.device
        for items in batched(self.dev, 50):
            memory = self.model.recall(self.dev_vectors.of(items, device))
            decoded = decode(self.model, memory, self.decoding)
            generations += [Generation(self.model.vocabulary.decode(found[0].ids)) for found in decoded]
        return dev_scores(self.metrics, list(self.dev), generations)

    def export(self, directory: Path) -> None:
        """The model as ``load`` reads it, the encoder in a file of its own."""
        vocabularies = {VOCABULARY_FILE: self.model.vocabulary}
        export(directory, self.recipe, self.model, self.model.config, vocabularies, {"encoder.safetensors": "encoder."})

    def _open(self, split: str, data_dir: Path | None, limit: int) -> Sequence[Item]:
        scenes = {"scenes": self.data.scenes} if self.data.scenes else {}
        opened = open_dataset(self.data.dataset, split, data_dir, {**self.data.options, **scenes})
        items: Sequence[Item]
        if isinstance(opened, PhotoClips):
            items = PhotoClips(opened.photos[: limit or None], opened.scenes, opened.seed)
        else:
            items = list(islice(opened, limit or None))
        check_items(items, self.data.dataset, split)
        return items

    def _initial(self) -> tuple[dict[str, Tensor], WordVocabulary | None]:
        """Weights to start from, and their vocabulary if they have one."""
        if self.recipe.init is None:
            raise UsageError("recipe: init: missing; the encoder's weights come from it", "init = 'efficientnet-lite2'")
        files = initial_files(self.recipe.init)
        return initial_weights(files), WordVocabulary.load(files[VOCABULARY_FILE]) if VOCABULARY_FILE in files else None

    def _extended(self, vocabulary: WordVocabulary | None) -> WordVocabulary:
        """The initial vocabulary with the words that it lacks for captions of clips; else that of the training captions."""
        captions = [caption for item in self.train for caption in item.references]
        if vocabulary is None:
            return WordVocabulary.build(captions, self.data.min_count)
        frequent = WordVocabulary.build(captions, max(1, round(FREQUENT * len(captions))), vocabulary.tokenizer)
        known = set(vocabulary.tokens)
        words = [*vocabulary.tokens[vocabulary.unk + 1 :], *(word for word in frequent.tokens if word not in known)]
        return WordVocabulary(words, vocabulary.tokenizer)

    def _load(self, weights: dict[str, Tensor], vocabulary: WordVocabulary | None) -> None:
        """Start from ``weights``; words that they don't know keep their random vectors, attention goes where there is none."""
        own = self.model.state_dict()
        if self.model.decoder.attention is None:
            weights = {name: tensor for name, tensor in weights.items() if not name.startswith(_ATTENDING)}
        if vocabulary is not None:
            for name in ("decoder.embedding.weight", "decoder.bias"):
                rows = own[name].clone()
                if name not in weights or weights[name].shape != rows[: len(vocabulary)].shape:
                    continue  # what is wrong is told below
                rows[: len(vocabulary)] = weights[name]
                weights = {**weights, name: rows}
        check_initial(own, str(self.recipe.init), weights, [name for name in own if name.startswith("encoder.")])
        self.model.load_state_dict(weights, strict=False)

    def captions(self, item: Item) -> list[list[int]]:
        """Token ids of an item's captions, longest first as the decoder likes them."""
        encode, limit = self.model.vocabulary.encode, self.data.max_length
        return sorted((encode(text)[:limit] for text in item.references), key=len, reverse=True)

    def _vectors(self, items: Sequence[Item], what: str) -> _Vectors:
        config = self.model.config
        sources: Sequence[Filmed]
        sources = items.paths() if isinstance(items, PhotoClips) else [_Video(item, config.frames) for item in items]
        cached = cached_vectors(self.model.encoder, config.image_size, sources, what)
        return _Vectors(cached, {source.id: row for row, source in enumerate(sources)}, config.frames)


@dataclass(frozen=True)
class _Vectors:
    """The vectors of frames, by what they were taken from.

    Args:
        cached: (sources, frames, 1280), see ``cached_vectors``.
        rows: of each source, by its id.
        most: frames of a clip.
    """

    cached: NDArray[np.float16]
    rows: Mapping[str, int]
    most: int

    def of(self, items: Sequence[Item], device: torch.device | str = "cpu") -> FrameVectors:
        """The frames of clips, as the model would see them."""
        clips = [torch.from_numpy(self._clip(item)) for item in items]
        padded = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
        return FrameVectors(padded.to(device), torch.tensor([len(clip) for clip in clips]))

    def _clip(self, item: Item) -> NDArray[np.float16]:
        clip: Any = item.condition
        if isinstance(clip, MovingPhotos):
            rows = [self.rows[path.id] for path in clip.paths]
            chosen = clip.shown(self.most)
            return self.cached[[rows[scene] for scene, _ in chosen], [position for _, position in chosen]]
        frames = self.cached[self.rows[_Video(item, self.most).id]]
        return np.array(frames[np.isfinite(frames[:, 0])])


class _Epoch:
    """The batches of one epoch, made as they are asked for."""

    def __init__(self, experiment: VideoExperiment, items: Sequence[Item], rng: np.random.Generator) -> None:
        self.experiment = experiment
        self.items = items
        self.captions = [experiment.captions(item) for item in items]
        fewest = min(map(len, self.captions))
        self.captions = [captions[:fewest] for captions in self.captions]
        sizes = np.array([sum(map(len, captions)) for captions in self.captions])
        self.order = batches_of_like_length(sizes, experiment.recipe.training.batch_size, rng)

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[TrainingBatch]:
        vocabulary = self.experiment.model.vocabulary
        for chosen in self.order:
            captions = [caption for index in chosen for caption in self.captions[index]]
            inputs, targets, lengths = teacher_forcing(captions, vocabulary.bos, vocabulary.eos, vocabulary.pad)
            vectors = self.experiment.vectors.of([self.items[index] for index in chosen])
            yield TrainingBatch(vectors, inputs, targets, lengths, torch.from_numpy(chosen))
