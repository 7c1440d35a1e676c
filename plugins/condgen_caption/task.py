"""Input of the caption command: photos and videos."""

from __future__ import annotations

from collections.abc import Iterator

from condgen_caption import KINDS
from condgen_cli.files.sources import Source
from condgen_cli.item import Item

__all__ = ["read"]


def read(source: str) -> Iterator[Item]:
    """The photo or video at a path, at a URL or on standard input (``-``), decoded on demand.

    Raises:
        InputError: if its content is neither.
        NotFoundError, NetworkError: if it can't be opened.
    """
    from condgen_cli.data.content import Kind, check_kind
    from condgen_cli.data.image import Photo
    from condgen_cli.data.video import Footage  # imports the decoders

    content = Source(source)
    kind = check_kind(content, [Kind(kind) for kind in KINDS], otherwise=Kind.photo)
    yield Item(id=source, condition=(Footage if kind is Kind.clip else Photo)(content), source=source)
