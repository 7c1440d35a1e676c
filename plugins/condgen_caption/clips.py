"""Clips made of photos: scenes that pan and zoom over one photo each, with cuts between them, made as they are asked for.

No corpus of captioned videos may be handed on. These moving photographs have what matters to attention over frames: scenes in
an order, each of which only some of the words speak of, and it is known which frames are of which scene.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image

from condgen_caption.data import flickr8k
from condgen_cli.data.image import load_image
from condgen_cli.data.splits import hash_text
from condgen_cli.data.video import Clip, ClipSource, evenly
from condgen_cli.model import Item

__all__ = ["FRAME_SECONDS", "POSITIONS", "THEN", "MovingPhotos", "PhotoClips", "PhotoPath", "flickr8k_clips", "scenes_of"]

POSITIONS = 4
"""Crops of a photo that the camera may show, in the order of its path."""

LONGEST_SCENE = 16
"""Frames of a scene at most; at least 2. A path that ends before its scene does is gone back."""

FRAME_SECONDS = 0.5

THEN = "then"
"""The word between what scenes show."""

_SMALLEST = 0.72
"""Side of a crop, as a share of its photo's, at least."""


@dataclass(frozen=True)
class PhotoPath:
    """A camera's path over a photo: ``POSITIONS`` crops from one place and size to another, by a hash of the photo's id.

    Args:
        id: of the photo.
        photo: as ``load_image`` takes it.
    """

    id: str
    photo: Any

    def boxes(self) -> list[tuple[float, float, float, float]]:
        """(left, upper, right, lower) of each crop, as shares of the photo's width and height."""
        rng = np.random.default_rng(hash_text(self.id))
        sides = rng.uniform(_SMALLEST, 1.0, 2)
        corners = rng.uniform(0.0, 1.0, (2, 2)) * (1 - sides[:, None])
        parts = np.linspace(0, 1, POSITIONS)[:, None]
        side = sides[0] + parts * (sides[1] - sides[0])
        corner = corners[0] + parts * (corners[1] - corners[0])
        return [(float(x), float(y), float(x + s), float(y + s)) for (x, y), (s,) in zip(corner, side, strict=True)]

    def frames(self) -> list[Image.Image]:
        """What the camera sees at each position, in the photo's proportions."""
        image = load_image(self.photo)
        width, height = image.size
        boxes = [(x * width, y * height, right * width, lower * height) for x, y, right, lower in self.boxes()]
        return [image.resize(image.size, Image.Resampling.BICUBIC, box) for box in boxes]


@dataclass(frozen=True)
class MovingPhotos(ClipSource):
    """A clip that is made when it is asked for.

    Args:
        paths: one for each scene.
        positions: for each frame its scene and the camera's position.
    """

    paths: tuple[PhotoPath, ...]
    positions: tuple[tuple[int, int], ...]

    @property
    def times(self) -> tuple[float, ...]:
        """Of each frame, in seconds."""
        return tuple(FRAME_SECONDS * index for index in range(len(self.positions)))

    @property
    def duration(self) -> float:
        return FRAME_SECONDS * len(self.positions)

    def shown(self, most: int) -> tuple[tuple[int, int], ...]:
        """The scenes and positions of at most so many frames."""
        return tuple(self.positions[index] for index in evenly(self.times, self.duration, most))

    def clip(self, most: int) -> Clip:
        """At most so many frames, all of the first one's size."""
        scenes = [path.frames() for path in self.paths]
        frames = [scenes[scene][position] for scene, position in self.positions]
        size = frames[0].size
        images = tuple(frame if frame.size == size else frame.resize(size) for frame in frames)
        return Clip(images, self.times, self.duration, decoded=len(images)).thin(most)


class PhotoClips(Sequence[Item]):
    """As many clips as there are photos: clip i begins with photo i, what follows is drawn among the others.

    Reference r of a clip tells the scenes in order: caption r of each, joined by "then". ``meta["scenes"]`` is the scene of
    each frame. The clips of an epoch are a function of ``seed`` and the epoch; epoch 0 is what is seen from outside.

    Args:
        photos: with at least one caption each.
        scenes: how many a clip has, ``1``, ``2`` or ``3``; ``mixed``: each of these as often as the others.
        seed: of everything that is drawn.
    """

    def __init__(self, photos: Sequence[Item], scenes: str = "mixed", seed: int = 1, epoch: int = 0) -> None:
        self.photos = photos
        self.scenes = scenes
        self.seed = seed
        self.epoch = epoch

    def redrawn(self, epoch: int) -> PhotoClips:
        """Other clips of the same photos."""
        return PhotoClips(self.photos, self.scenes, self.seed, epoch)

    def paths(self) -> list[PhotoPath]:
        """All that the clips of any epoch are made of."""
        return [PhotoPath(photo.id, photo.condition) for photo in self.photos]

    def __len__(self) -> int:
        return len(self.photos)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self._clip(number) for number in range(*index.indices(len(self)))]
        return self._clip(range(len(self))[index])

    def __iter__(self) -> Iterator[Item]:
        return map(self._clip, range(len(self)))

    def _clip(self, number: int) -> Item:
        rng = np.random.default_rng([self.seed, self.epoch, number])
        wanted = int(self.scenes) if self.scenes != "mixed" else (number + self.epoch) % 3 + 1
        count = min(wanted, len(self.photos))
        chosen = [number]
        while len(chosen) < count:
            other = int(rng.integers(len(self.photos)))
            chosen += [other] * (other not in chosen)
        photos = [self.photos[index] for index in chosen]
        positions = [(scene, place) for scene in range(count) for place in _walk(rng)]
        references = zip(*(photo.references for photo in photos), strict=False)
        return Item(
            "+".join(photo.id for photo in photos),
            MovingPhotos(tuple(PhotoPath(photo.id, photo.condition) for photo in photos), tuple(positions)),
            tuple(f" {THEN} ".join(map(_unended, captions)) for captions in references),
            source=" + ".join(photo.source for photo in photos),
            group=f"{count} scene{'s' * (count > 1)}",
            meta={"scenes": tuple(scene for scene, _ in positions)},
        )


def _walk(rng: np.random.Generator) -> list[int]:
    """Neighbouring positions, forth or back, turning at the ends of the path."""
    length = int(rng.integers(2, LONGEST_SCENE + 1))
    place = int(rng.integers(POSITIONS))
    step = 1 if rng.random() < 0.5 else -1
    places = [place]
    while len(places) < length:
        if not 0 <= place + step < POSITIONS:
            step = -step
        place += step
        places.append(place)
    return places


def _unended(caption: str) -> str:
    return caption.strip().rstrip(" .")


def scenes_of(words: Sequence[str]) -> list[int]:
    """For each word of an output the scene that it tells of, -1 for the words between."""
    scenes, scene = [], 0
    for word in words:
        between = word == THEN
        scene += between
        scenes.append(-1 if between else scene)
    return scenes


def flickr8k_clips(root: Path, split: str, scenes: str = "mixed") -> PhotoClips:
    """Clips of the photos of a split of Flickr8k, see ``PhotoClips``.

    Args:
        root, split: as of ``flickr8k``, which also says what is raised.
        scenes: ``1``, ``2``, ``3`` or ``mixed``.
    """
    return PhotoClips(flickr8k(root, split), scenes)
