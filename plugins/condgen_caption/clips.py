"""Clips made of photos: scenes that pan and zoom over one photo each, with cuts between them, rendered on demand.

No corpus of captioned videos may be redistributed. These clips have what matters for attention over frames: a sequence of
scenes, captions in which each word describes one scene, and known scene boundaries.
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
"""Number of crops along a camera path."""

LONGEST_SCENE = 16
"""Largest number of frames of a scene; the smallest is 2. At the end of its path the camera turns back."""

FRAME_SECONDS = 0.5

THEN = "then"
"""The word between the captions of scenes."""

_SMALLEST = 0.72
"""Smallest side of a crop, as a share of the photo's."""


@dataclass(frozen=True)
class PhotoPath:
    """A camera path over a photo: ``POSITIONS`` crops from one place and size to another, seeded by the photo's id.

    Args:
        id: id of the photo.
        photo: anything that ``load_image`` accepts.
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
        """The crop at each position, resized to the photo's size."""
        image = load_image(self.photo)
        width, height = image.size
        boxes = [(x * width, y * height, right * width, lower * height) for x, y, right, lower in self.boxes()]
        return [image.resize(image.size, Image.Resampling.BICUBIC, box) for box in boxes]


@dataclass(frozen=True)
class MovingPhotos(ClipSource):
    """A clip made of photos, rendered on demand.

    Args:
        paths: camera path of each scene.
        positions: scene and camera position of each frame.
    """

    paths: tuple[PhotoPath, ...]
    positions: tuple[tuple[int, int], ...]

    @property
    def times(self) -> tuple[float, ...]:
        """Time of each frame, in seconds."""
        return tuple(FRAME_SECONDS * index for index in range(len(self.positions)))

    @property
    def duration(self) -> float:
        return FRAME_SECONDS * len(self.positions)

    def select_positions(self, most: int) -> tuple[tuple[int, int], ...]:
        """Scenes and positions of at most ``most`` evenly spread frames."""
        return tuple(self.positions[index] for index in evenly(self.times, self.duration, most))

    def clip(self, most: int) -> Clip:
        """At most ``most`` frames, all of the first one's size."""
        scenes = [path.frames() for path in self.paths]
        frames = [scenes[scene][position] for scene, position in self.positions]
        size = frames[0].size
        images = tuple(frame if frame.size == size else frame.resize(size) for frame in frames)
        return Clip(images, self.times, self.duration, decoded=len(images)).thin(most)


class PhotoClips(Sequence[Item]):
    """Clips made of photos, one per photo: clip i begins with photo i, its further scenes are drawn from the other photos.

    Reference r of a clip joins caption r of each scene by "then". ``meta["scenes"]`` is the scene of each frame. Clips are a
    function of ``seed`` and the epoch; epoch 0 is the data set as published.

    Args:
        photos: items of photos with at least one caption each.
        scenes: scenes per clip: ``1``, ``2``, ``3``, or ``mixed`` for equal shares of these.
        seed: random seed.
        epoch: epoch of the clips.
    """

    def __init__(self, photos: Sequence[Item], scenes: str = "mixed", seed: int = 1, epoch: int = 0) -> None:
        self.photos = photos
        self.scenes = scenes
        self.seed = seed
        self.epoch = epoch

    def redraw(self, epoch: int) -> PhotoClips:
        """The clips of another epoch, from the same photos."""
        return PhotoClips(self.photos, self.scenes, self.seed, epoch)

    def paths(self) -> list[PhotoPath]:
        """Camera paths over all photos, of which the clips of every epoch consist."""
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
            tuple(f" {THEN} ".join(map(_strip_end, captions)) for captions in references),
            source=" + ".join(photo.source for photo in photos),
            group=f"{count} scene{'s' * (count > 1)}",
            meta={"scenes": tuple(scene for scene, _ in positions)},
        )


def _walk(rng: np.random.Generator) -> list[int]:
    """A walk along the path, in either direction, turning at its ends."""
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


def _strip_end(caption: str) -> str:
    return caption.strip().rstrip(" .")


def scenes_of(words: Sequence[str]) -> list[int]:
    """The scene that each word of an output describes, -1 for "then"."""
    scenes, scene = [], 0
    for word in words:
        between = word == THEN
        scene += between
        scenes.append(-1 if between else scene)
    return scenes


def flickr8k_clips(root: Path, split: str, scenes: str = "mixed") -> PhotoClips:
    """Clips of the photos of a split of Flickr8k, see ``PhotoClips``.

    Args:
        root, split: as for ``flickr8k``, which also lists the errors.
        scenes: ``1``, ``2``, ``3`` or ``mixed``.
    """
    return PhotoClips(flickr8k(root, split), scenes)
