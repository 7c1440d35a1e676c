"""What the caption command reads: photos and videos."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from condgen_caption import VIDEO_SUFFIXES
from condgen_cli.item import Item
from condgen_cli.sources import Source, is_url

__all__ = ["is_video", "read"]


def read(source: str) -> Iterator[Item]:
    """The photo or video at a path, at a URL or on standard input (``-``), read when it is decoded."""
    condition: Source
    if is_video(source):
        from condgen_cli.data.video import Footage  # which imports the decoders

        condition = Footage(source)
    else:
        condition = Source(source)
    yield Item(id=source, condition=condition, source=source)


def is_video(source: str) -> bool:
    """Whether it is one by its name; of a GIF on disk, whether it moves."""
    suffix = Path(urlsplit(source).path if is_url(source) else source).suffix.lower()
    return suffix in VIDEO_SUFFIXES or (suffix == ".gif" and os.path.isfile(source) and _moves(source))


def _moves(path: str) -> bool:
    from PIL import Image

    try:
        with Image.open(path) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:  # decoding it will tell
        return False
