"""Random numbers for sampling: each input, and each of its samples, has its own random stream.

A stream depends only on the seed, the input's content and the number of equal inputs before it: not on its batch, its position,
padding, or other inputs. Numbers come from the counter-based generator Philox (Salmon et al. 2011), so that a stream costs
nothing until it is used.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from condgen_cli.errors import CondgenError
from condgen_cli.files.sources import Failure
from condgen_cli.item import Content, Item

__all__ = ["Uniforms", "assign_keys", "item_key", "stream_key"]

BLOCK = 64
"""Numbers drawn from a stream at a time."""
ENDS = 1 << 20
"""Bytes at the beginning and end of a file that identify it."""


@runtime_checkable
class ConvertibleArray(Protocol):
    """An array that NumPy reads, of its own or of torch."""

    def __array__(self) -> NDArray[Any]: ...


def stream_key(seed: int, content: Any, occurrence: int = 0) -> int:
    """The 128-bit key of an input's random streams.

    Args:
        seed: seed of the run.
        content: the input: text, numbers, arrays, pictures, ``Content``, or collections of these. Equal contents have equal
            keys on every machine.
        occurrence: number of earlier inputs with equal content.
    Raises:
        TypeError: if the content has another type.
    """
    return _key(seed, _digest(content), occurrence)


def item_key(seed: int, item: Item, occurrence: int = 0) -> int:
    """The key of an item: of its condition if that is text; else of the item's text; else of its condition's bytes, or of the
    item's name if those can't be read."""
    return _key(seed, _item_digest(item), occurrence)


def assign_keys(items: Iterable[Item | Failure], seed: int) -> Iterator[Item | Failure]:
    """Items with the keys of their random streams. Equal inputs get different keys, by their order.

    Memory: 64 bits for each distinct input.
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


class Uniforms:
    """Uniform random numbers in [0, 1), one for each row at each step.

    Args:
        keys: keys of the inputs.
        samples: rows per input; sample n gets the same numbers whatever the number of samples.
    """

    def __init__(self, keys: Sequence[int], samples: int) -> None:
        self._streams = [
            np.random.Generator(np.random.Philox(key=key, counter=sample << 128)) for key in keys for sample in range(samples)
        ]
        self._block: NDArray[np.float64] = np.zeros((len(self._streams), 0))
        self._used = 0

    def draw(self) -> NDArray[np.float64]:
        """The next number for each row, (rows,)."""
        if self._used == self._block.shape[1]:
            self._block = np.stack([stream.random(BLOCK) for stream in self._streams])
            self._used = 0
        self._used += 1
        numbers: NDArray[np.float64] = self._block[:, self._used - 1]
        return numbers

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only the rows of these indices."""
        self._streams = [self._streams[row] for row in rows]
        self._block = self._block[list(rows)]


def _item_digest(item: Item) -> bytes:
    """Digest of an item's content, its part's index, and the text that it is a part of."""
    condition: Any = item.condition
    if not _is_text(condition) and item.text is not None:
        condition = item.text
    place = (item.part, item.text if item.parts > 1 else None)
    try:
        return _digest((condition, place))
    except (TypeError, CondgenError, OSError):  # unreadable here: the error is reported when it is read
        return _digest((item.source or item.id, place))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, tuple | list) and all(isinstance(part, str) for part in value))


def _digest(content: Any) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in _serialize(content):
        digest.update(part)
    return digest.digest()


def _key(seed: int, digest: bytes, occurrence: int) -> int:
    return int.from_bytes(_digest((seed, digest, occurrence)), "big")


def _serialize(value: Any) -> Iterator[bytes]:
    """Serialize a value injectively: different values give different bytes.

    Raises:
        TypeError: if the value has an unsupported type.
    """
    if isinstance(value, ConvertibleArray):
        array = np.ascontiguousarray(value)
        yield _frame(f"{array.dtype.str}{array.shape}", array.tobytes())
    elif value is None or isinstance(value, bool | int | float | str):
        yield _frame(type(value).__name__, repr(value).encode())
    elif isinstance(value, bytes):
        yield _frame("bytes", value)
    elif isinstance(value, Image.Image):
        yield _frame(f"{value.mode}{value.size}", value.tobytes())
    elif isinstance(value, Content):
        yield _frame("file", value.ends(ENDS))
    elif isinstance(value, Mapping):
        yield from _serialize([(name, value[name]) for name in sorted(value)])
    elif isinstance(value, tuple | list):
        yield _frame("list", str(len(value)).encode())
        for part in value:
            yield from _serialize(part)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from _serialize([getattr(value, field.name) for field in fields(value)])
    else:
        raise TypeError(f"{type(value).__name__} has no bytes")


def _frame(kind: str, content: bytes) -> bytes:
    return f"{kind}:{len(content)}:".encode() + content
