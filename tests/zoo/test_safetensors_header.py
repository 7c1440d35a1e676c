"""Headers: a sound one is read as the safetensors library reads it, anything else is an integrity error."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from condgen_cli.errors import IntegrityError
from condgen_cli.files.safetensors_header import LONGEST_HEADER, read_header

SOUND = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def pack(header: Any, data: bytes = b"\0" * 8, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def test_a_file_of_the_library(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    tensors = {"a": np.ones((2, 3), np.float16), "b.c": np.zeros((), np.int64), "none": np.zeros((0, 4), np.float32)}
    path.write_bytes(save(tensors, {"made": "here"}))
    header = read_header(path)
    assert {tensor.name: tensor.shape for tensor in header.tensors} == {"a": (2, 3), "b.c": (), "none": (0, 4)}
    assert {tensor.name: tensor.dtype for tensor in header.tensors} == {"a": "F16", "b.c": "I64", "none": "F32"}
    assert header.metadata == {"made": "here"}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "shorter"),
        (b"1234567", "shorter"),
        (pack({"a": SOUND}, length=2**63), "header of"),
        (pack({"a": SOUND}, length=1000), "header of"),
        (struct.pack("<Q", LONGEST_HEADER + 1) + bytes(LONGEST_HEADER + 100), "more than"),
        (pack(b"{not json"), "not JSON"),
        (pack(b"\xff\xfe"), "not JSON"),
        (pack(b"[" * 100_000), "not JSON"),
        (pack(b'{"a": ' + b"9" * 10_000 + b"}"), "not JSON"),
        (pack([1]), "not a JSON object"),
        (pack({"a": 1}), "lacks"),
        (pack({"a": SOUND | {"extra": 1}}), "lacks"),
        (pack({"a": SOUND | {"dtype": "F33"}}), "unknown dtype"),
        (pack({"a": SOUND | {"dtype": ["F32"]}}), "unknown dtype"),
        (pack({"a": SOUND | {"shape": [-2]}}), "malformed"),
        (pack({"a": SOUND | {"shape": [True]}}), "malformed"),
        (pack({"a": SOUND | {"data_offsets": [8, 0]}}), "spans"),
        (pack({"a": SOUND | {"data_offsets": [0, 8, 16]}}), "malformed"),
        (pack({"a": SOUND | {"shape": [3]}}), "spans"),
        (pack({"a": SOUND | {"data_offsets": [8, 16]}}), "belong to none"),
        (pack({"a": SOUND}, b"\0" * 4), "ends at byte 8 of 4"),
        (pack({"a": SOUND}, b"\0" * 9), "end at byte 8 of 9"),
        (pack({"a": SOUND, "b": SOUND}), "overlaps"),
        (pack(b'{"a": %b, "a": %b}' % ((json.dumps(SOUND).encode(),) * 2)), "repeated"),
        (pack({"__metadata__": {"a": 1}}, b""), "metadata"),
    ],
)
def test_faults(tmp_path: Path, data: bytes, problem: str) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=problem) as failure:
        read_header(path)
    assert failure.value.exit_code == 6
    assert "\n" not in failure.value.message


@given(st.data())
def test_nothing_passes_that_the_library_refuses(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(save({"a": np.ones((2, 3), np.float32), "b": np.ones(4, np.uint8)}))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "mutated.safetensors"
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]) if data.draw(st.booleans()) else bytes(content))
    try:
        header = read_header(path)
    except IntegrityError:
        return
    try:
        with safe_open(path, "np") as file:
            assert set(file.keys()) == {tensor.name for tensor in header.tensors}
    except SafetensorError as error:
        pytest.fail(f"accepted what the library refuses: {error}")
