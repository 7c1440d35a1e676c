"""Feature maps of a frozen encoder, and vectors of frames, computed once and cached on disk.

Encoder stages before a cut don't change in training, so their output for each photo is computed once, as float16, and read
through a memory map.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from condgen_caption.cnn import HEAD_CHANNELS, EfficientNetLite, frame_vectors, normalise
from condgen_cli import settings
from condgen_cli.data.image import load_image, resize
from condgen_cli.files import replacement
from condgen_cli.model import Item
from condgen_cli.terminal.console import progress

__all__ = ["FrameSource", "cached_maps", "cached_vectors"]

BATCH = 16

_SOURCES = 8
"""Clips whose frames are encoded together."""


def cached_maps(
    encoder: EfficientNetLite, cut: int, image_size: int, items: Sequence[Item], mirrored: bool, description: str
) -> NDArray[np.float16]:
    """The input of encoder stage ``cut`` for every item, (items, h, w, channels), from the cache if possible.

    The cache is a file in ``features/`` below ``CONDGEN_HOME``, named by a hash of its inputs: the encoder's weights before
    the cut, the image size, and the photos' ids and sources.
    """
    before = [encoder.stem, *encoder.stages[:cut]]
    key = _key(before, f"{cut} {image_size} {mirrored}", (f"{item.id}\0{item.source}\0" for item in items))
    return _load_or_compute(key, lambda path: _compute(encoder, cut, image_size, items, mirrored, path, description))


class FrameSource(Protocol):
    """A source of frames, identified by its id."""

    @property
    def id(self) -> str: ...
    def frames(self) -> Sequence[Image.Image]: ...


def cached_vectors(
    encoder: EfficientNetLite, image_size: int, sources: Sequence[FrameSource], description: str
) -> NDArray[np.float16]:
    """Means of the encoder's maps for the frames of every source, (sources, most frames, 1280), NaN at missing frames.

    They are cached like ``cached_maps``. Frames are resized to a square of ``image_size`` pixels a side.
    """
    key = _key([encoder], f"vectors {image_size}", (f"{source.id}\0" for source in sources))
    return _load_or_compute(key, lambda path: _compute_vectors(encoder, image_size, sources, path, description))


def _load_or_compute(key: str, compute: Callable[[Path], None]) -> NDArray[np.float16]:
    path = settings.store_folder() / "features" / f"{key}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacement(path) as partial:
            compute(partial)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _key(parts: Sequence[nn.Module], settings: str, names: Iterable[str]) -> str:
    digest = hashlib.sha256(settings.encode())
    for part in parts:
        for name, tensor in part.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.cpu().numpy().tobytes())
    for name in names:
        digest.update(name.encode())
    return digest.hexdigest()[:32]


@torch.inference_mode()
def _compute(
    encoder: EfficientNetLite, cut: int, image_size: int, items: Sequence[Item], mirrored: bool, path: Path, description: str
) -> None:
    device = next(encoder.parameters()).device
    out: np.memmap[Any, np.dtype[np.float16]] | None = None
    with progress(len(items), description, unit="photos") as advance:
        for start in range(0, len(items), BATCH):
            photos = [resize(load_image(item.condition), image_size) for item in items[start : start + BATCH]]
            pixels = np.stack([photo[:, :, ::-1] if mirrored else photo for photo in photos])
            batch = normalise(torch.from_numpy(pixels).to(device)).contiguous(memory_format=torch.channels_last)
            maps = encoder.trunk(batch, cut).permute(0, 2, 3, 1).half().cpu().numpy()
            if out is None:
                shape = (len(items), *maps.shape[1:])
                out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
            out[start : start + len(maps)] = maps
            advance(len(maps))
    if out is not None:
        out.flush()


@torch.inference_mode()
def _compute_vectors(
    encoder: EfficientNetLite, image_size: int, sources: Sequence[FrameSource], path: Path, description: str
) -> None:
    device = next(encoder.parameters()).device
    rows = []
    with progress(len(sources), description, unit="clips") as advance:
        for start in range(0, len(sources), _SOURCES):
            clips = [[resize(frame, image_size) for frame in one.frames()] for one in sources[start : start + _SOURCES]]
            pixels = torch.from_numpy(np.stack([frame for clip in clips for frame in clip])).to(device)
            vectors = frame_vectors(encoder, pixels).half().cpu().numpy()
            rows += np.split(vectors, np.cumsum([len(clip) for clip in clips])[:-1])
            advance(len(clips))
    most = max(map(len, rows), default=0)
    out = np.full((len(rows), most, HEAD_CHANNELS), np.nan, np.float16)
    for row, vectors in enumerate(rows):
        out[row, : len(vectors)] = vectors
    with path.open("wb") as file:
        np.save(file, out)
