"""Files given in any form, as their bytes: what the front ends of images and sound share."""

from __future__ import annotations

import os
from typing import Any

from condgen_cli.errors import InputError
from condgen_cli.sources import Source

__all__ = ["read_content"]


def read_content(source: Any, kind: str) -> tuple[str, bytes]:
    """What to call a source in a message, and the bytes of its file, which may be none.

    Args:
        source: a path, a URL, the bytes of a file, or an object whose ``open()`` gives such bytes.
        kind: what the file should hold, with an article: ``an image``.
    Raises:
        NotFoundError: if the file doesn't exist.
        NetworkError: if a URL can't be fetched.
        InputError: if the file can't be read, or ``source`` is of no such type.
    """
    unnamed = f"the {kind.partition(' ')[2]}"
    if isinstance(source, bytes | bytearray | memoryview):
        return unnamed, bytes(source)
    if isinstance(source, str | os.PathLike):
        source = Source(os.fspath(source))
    if not hasattr(source, "open"):
        raise InputError(f"cannot read {kind} from an object of type {type(source).__name__}")
    return str(getattr(source, "name", unnamed)), source.open()
