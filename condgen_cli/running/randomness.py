"""Random numbers for sampling: each input, and each sample of it, has a stream of its own.

A stream depends on the seed, on what the input is and on how many equal inputs came before it: not on the batch that it is run
in, its place, its padding, or on what else there is. Numbers come from Philox (Salmon et al. 2011), which is a function of a
key and a counter, so that a stream costs nothing until it is drawn from.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from condgen_cli.errors import CondgenError
from condgen_cli.files.sources import Failure
from condgen_cli.item import Content, Item

__all__ = ["Uniforms", "fresh_keys", "item_key", "keyed", "stream_key"]

BLOCK = 64
"""Numbers that are drawn from a stream at a time."""
ENDS = 1 << 20
"""Bytes of a long file's beginning and end that tell it from others."""


def stream_key(seed: int, content: Any, occurrence: int = 0) -> int:
    """The key of an input's streams, 128 bits.

    Args:
        seed: of the run.
        content: what the input is: text, numbers, arrays, pictures, ``Content``, and collections of these.
            Equal contents have equal keys, on every machine.
        occurrence: how many inputs of this content came before.
    Raises:
        TypeError: if the content is of another kind.
    """
    return _key(seed, _digest(content), occurrence)


def item_key(seed: int, item: Item, occurrence: int = 0) -> int:
    """The same of an item: of its condition if that is text, else of the text that it comes from, else of its condition, or if
    that has no bytes of its name."""
    return _key(seed, _item_digest(item), occurrence)


def keyed(items: Iterable[Item | Failure], seed: int) -> Iterator[Item | Failure]:
    """Items with the keys of their streams. Of equal inputs each has a key of its own: the first, the second, ….

    A number of 64 bits is kept for each different input.
    """
    seen: Counter[int] = Counter()
    for item in items:
        if isinstance(item, Failure) or not item.parts:
            yield item
            continue
        digest = _item_digest(item)
        short = int.from_bytes(digest[:8], "big")
        yield replace(item, key=_key(seed, digest, seen[short]))
        seen[short] += 1


def fresh_keys(count: int) -> list[int]:
    """Keys drawn from torch's own generator, as training wants: what follows is then part of its state."""
    drawn: list[int] = torch.randint(2**63 - 1, (count,)).tolist()
    return drawn


class Uniforms:
    """A number in [0, 1) for each row at each step.

    Args:
        keys: of the inputs.
        samples: rows of each input; sample number n has the same numbers however many there are.
    """

    def __init__(self, keys: Sequence[int], samples: int) -> None:
        self._streams = [
            np.random.Generator(np.random.Philox(key=key, counter=sample << 128)) for key in keys for sample in range(samples)
        ]
        self._block: NDArray[np.float64] = np.zeros((len(self._streams), 0))
        self._used = 0

    def draw(self) -> NDArray[np.float64]:
        """The next number of each row, (rows,)."""
        if self._used == self._block.shape[1]:
            self._block = np.stack([stream.random(BLOCK) for stream in self._streams])
            self._used = 0
        self._used += 1
        numbers: NDArray[np.float64] = self._block[:, self._used - 1]
        return numbers

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some rows, by index."""
        self._streams = [self._streams[row] for row in rows]
        self._block = self._block[list(rows)]


def _item_digest(item: Item) -> bytes:
    """Of what an item is, with the number of its part, and what it is a part of."""
    condition: Any = item.condition
    if not _is_text(condition) and item.text is not None:
        condition = item.text
    place = (item.part, item.text if item.parts > 1 else None)
    try:
        return _digest((condition, place))
    except (TypeError, CondgenError, OSError):  # it can't be read here: reading it will tell
        return _digest((item.source or item.id, place))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, tuple | list) and all(isinstance(part, str) for part in value))


def _digest(content: Any) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in _written(content):
        digest.update(part)
    return digest.digest()


def _key(seed: int, digest: bytes, occurrence: int) -> int:
    return int.from_bytes(_digest((seed, digest, occurrence)), "big")


def _written(value: Any) -> Iterator[bytes]:
    """A value as bytes that no other value has.

    Raises:
        TypeError: if it is of a kind that has no bytes.
    """
    if isinstance(value, np.ndarray | np.generic | Tensor):
        array = np.ascontiguousarray(value.cpu().numpy() if isinstance(value, Tensor) else value)
        yield _framed(f"{array.dtype.str}{array.shape}", array.tobytes())
    elif value is None or isinstance(value, bool | int | float | str):
        yield _framed(type(value).__name__, repr(value).encode())
    elif isinstance(value, bytes):
        yield _framed("bytes", value)
    elif isinstance(value, Image.Image):
        yield _framed(f"{value.mode}{value.size}", value.tobytes())
    elif isinstance(value, Content):
        yield _framed("file", value.ends(ENDS))
    elif isinstance(value, Mapping):
        yield from _written([(name, value[name]) for name in sorted(value)])
    elif isinstance(value, tuple | list):
        yield _framed("list", str(len(value)).encode())
        for part in value:
            yield from _written(part)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from _written([getattr(value, field.name) for field in fields(value)])
    else:
        raise TypeError(f"{type(value).__name__} has no bytes")


def _framed(kind: str, content: bytes) -> bytes:
    return f"{kind}:{len(content)}:".encode() + content
