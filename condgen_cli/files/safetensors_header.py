"""Checking the header of a safetensors file before a library maps the file.

Layout (https://github.com/huggingface/safetensors): 8 bytes little-endian header length, a JSON object that maps each
tensor's name to its dtype, shape and offsets into the rest of the file, then that rest.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condgen_cli.errors import IntegrityError

__all__ = ["DTYPE_BYTES", "Header", "Tensor", "read_header"]

DTYPE_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
"""Bytes per element of each dtype."""

LONGEST_HEADER = 16 * 1024 * 1024
"""Maximum size in bytes; the format allows 100 MB, and a model of 100,000 tensors needs about a tenth of that."""


@dataclass(frozen=True)
class Tensor:
    """A tensor; ``start`` and ``stop`` are byte offsets after the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Header:
    """All tensors in the order of their data, and the metadata."""

    tensors: tuple[Tensor, ...]
    metadata: dict[str, str]


def read_header(path: Path) -> Header:
    """Read and check a file's header: the tensors must fill the rest of the file exactly, without overlap or gap.

    Raises:
        IntegrityError: if the header is invalid.
        OSError: if the file can't be read.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            return _parse(_header_bytes(file.read(8), size, file.read), size)
    except _MalformedError as error:
        raise IntegrityError(f"{path.name} is not a valid safetensors file: {error}") from None


class _MalformedError(Exception):
    """The header is malformed; the message is part of a sentence."""


def _header_bytes(prefix: bytes, size: int, read: Any) -> bytes:
    if len(prefix) < 8:
        raise _MalformedError("shorter than its header's length field")
    length = int.from_bytes(prefix, "little")
    if length > size - 8:
        raise _MalformedError(f"header of {length} bytes in a file of {size}")
    if length > LONGEST_HEADER:
        raise _MalformedError(f"header of {length} bytes, more than {LONGEST_HEADER}")
    return read(length)


def _parse(header: bytes, size: int) -> Header:
    try:
        document = json.loads(header.decode("utf-8"), object_pairs_hook=_reject_duplicates)
    except (ValueError, RecursionError):
        raise _MalformedError("its header is not JSON") from None
    if not isinstance(document, dict):
        raise _MalformedError("its header is not a JSON object")
    metadata = document.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _MalformedError("its metadata is not a map of strings")
    tensors = sorted((_tensor(name, value) for name, value in document.items()), key=lambda tensor: (tensor.start, tensor.stop))
    _check_layout(tensors, size - 8 - len(header))
    return Header(tuple(tensors), metadata)


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise _MalformedError("a name is repeated in its header")
    return values


def _tensor(name: str, value: Any) -> Tensor:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise _MalformedError(f"tensor {name!r:.80} lacks dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise _MalformedError(f"tensor {name!r:.80} is of unknown dtype {dtype!r:.40}")
    if not _are_naturals(shape) or not _are_naturals(offsets) or len(offsets) != 2 or len(shape) > 32:
        raise _MalformedError(f"tensor {name!r:.80} has a malformed shape or data_offsets")
    start, stop = offsets
    if stop - start != math.prod(shape) * DTYPE_BYTES[dtype]:
        raise _MalformedError(f"tensor {name!r:.80} of {dtype} {shape} spans {stop - start} bytes")
    return Tensor(name, dtype, tuple(shape), start, stop)


def _are_naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int and 0 <= number < 1 << 63 for number in value)


def _check_layout(tensors: list[Tensor], available: int) -> None:
    end = 0
    for tensor in tensors:
        if tensor.start < end:
            raise _MalformedError(f"tensor {tensor.name!r:.80} overlaps the one before it")
        if tensor.start > end:
            raise _MalformedError(f"{tensor.start - end} bytes before tensor {tensor.name!r:.80} belong to none")
        if tensor.stop > available:
            raise _MalformedError(f"tensor {tensor.name!r:.80} ends at byte {tensor.stop} of {available}")
        end = tensor.stop
    if end != available:
        raise _MalformedError(f"its tensors end at byte {end} of {available}")
