"""What the caption command reads: photos and videos."""

from __future__ import annotations

from collections.abc import Iterator

from condgen_caption import KINDS
from condgen_cli.files.sources import Source
from condgen_cli.item import Item

__all__ = ["read"]


def read(source: str) -> Iterator[Item]:
    """The photo or video at a path, at a URL or on standard input (``-``), decoded when it is needed.

    Raises:
        InputError: if it is neither by its content.
        NotFoundError, NetworkError: if it can't be had.
    """
    from condgen_cli.data.content import Kind, check_kind
    from condgen_cli.data.image import Photo
    from condgen_cli.data.video import Footage  # which imports the decoders

    content = Source(source)
    kind = check_kind(content, [Kind(kind) for kind in KINDS], otherwise=Kind.photo)
    yield Item(id=source, condition=(Footage if kind is Kind.clip else Photo)(content), source=source)
