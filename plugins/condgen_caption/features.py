"""Feature maps of a frozen encoder, computed once and kept on disk.

The encoder is cut before a stage: what lies before it never changes in training, so its output for every photo is computed
once, as float16, and read back through a memory map.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from condgen_caption.cnn import EfficientNetLite, normalise
from condgen_cli import settings
from condgen_cli.console import progress
from condgen_cli.data.image import load_image, resize
from condgen_cli.model import Item

__all__ = ["cached_maps"]

BATCH = 16


def cached_maps(
    encoder: EfficientNetLite, cut: int, image_size: int, items: Sequence[Item], mirrored: bool, description: str
) -> NDArray[np.float16]:
    """The input of encoder stage ``cut`` for every item: (items, h, w, channels), from the cache if it is there.

    The cache is a file in ``features/`` below ``CONDGEN_HOME``, named by a hash of everything it depends on: the encoder's
    weights before the cut, the image size, and the photos' ids and sources.
    """
    path = settings.current().home / "features" / f"{_key(encoder, cut, image_size, items, mirrored)}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            _compute(encoder, cut, image_size, items, mirrored, partial, description)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _key(encoder: EfficientNetLite, cut: int, image_size: int, items: Sequence[Item], mirrored: bool) -> str:
    digest = hashlib.sha256(f"{cut} {image_size} {mirrored}".encode())
    before = [encoder.stem, *encoder.stages[:cut]]
    for part in before:
        for name, tensor in part.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.cpu().numpy().tobytes())
    for item in items:
        digest.update(f"{item.id}\0{item.source}\0".encode())
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
