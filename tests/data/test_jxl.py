"""JPEG XL tells its size before it is decoded."""

from __future__ import annotations

import io

import pillow_jxl  # noqa: F401
import pytest
from PIL import Image

from condgen_cli.data.image import load_image
from condgen_cli.data.jxl import jxl_size
from condgen_cli.errors import InputError


def encoded(size: tuple[int, int], **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, "JXL", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "size",
    [(1, 1), (8, 8), (256, 256), (264, 256), (640, 480), (1920, 1080), (300, 200), (600, 500), (500, 250), (513, 9), (7, 8193)],
)
@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"use_container": True}, {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}])
def test_sizes(size: tuple[int, int], options: dict[str, object]) -> None:
    assert jxl_size(io.BytesIO(encoded(size, **options))) == size


@pytest.mark.parametrize("content", [b"", b"\xff\x0a", b"\xff\xd8\xff\xe0" + bytes(20), b"\x00\x00\x00\x0cJXL \r\n\x87\n"])
def test_what_tells_no_size(content: bytes) -> None:
    assert jxl_size(io.BytesIO(content)) is None


def test_many_pixels_in_few_bytes_are_refused_unread() -> None:
    fields = [(0, 1), (1, 2), (8000 - 1, 13), (0, 3), (2, 2), (9000 - 1, 18)]  # not in eights; height; no ratio; width
    number = place = 0
    for value, bits in fields:
        number |= value << place
        place += bits
    content = b"\xff\x0a" + number.to_bytes(8, "little") + bytes(100)
    assert jxl_size(io.BytesIO(content)) == (9000, 8000)
    with pytest.raises(InputError, match="9000×8000 pixels in so few bytes"):
        load_image(content)
