"""Photos of every kind become upright RGB images, or one clear line."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from condgen_cli.data.image import MAX_PIXELS, load_image, resize
from condgen_cli.errors import InputError, NotFoundError

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def halves(size: tuple[int, int] = (40, 20)) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    return image


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def near(image: Image.Image, place: tuple[int, int], colour: tuple[int, int, int], tolerance: int = 40) -> bool:
    return bool(np.abs(np.subtract(image.getpixel(place), colour)).max() <= tolerance)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes) -> bytes:
    """A PNG of kinds that Pillow can't write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_formats(format: str, tmp_path: Path) -> None:
    path = tmp_path / "photo"
    path.write_bytes(encoded(halves(), format))
    image = load_image(path)
    assert (image.mode, image.size) == ("RGB", (40, 20))
    assert near(image, (3, 10), RED)
    assert near(image, (36, 10), BLUE)


def test_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), BLUE)]
    for format in ("GIF", "WEBP"):
        image = load_image(encoded(frames[0], format, save_all=True, append_images=frames[1:]))
        assert near(image, (4, 4), RED)


@pytest.mark.parametrize(
    ("orientation", "size", "red_at"),
    [
        (1, (40, 20), (3, 10)),
        (2, (40, 20), (36, 10)),
        (3, (40, 20), (36, 10)),
        (4, (40, 20), (3, 10)),
        (5, (20, 40), (10, 3)),
        (6, (20, 40), (10, 3)),
        (7, (20, 40), (10, 36)),
        (8, (20, 40), (10, 36)),
    ],
)
def test_exif_orientation(orientation: int, size: tuple[int, int], red_at: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = load_image(encoded(halves(), "JPEG", exif=exif))
    assert image.size == size
    assert near(image, red_at, RED)
    assert load_image(image).size == size, "a loaded image must not be turned again"


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_is_ignored() -> None:
    data = encoded(halves(), "JPEG", exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff garbage")
    assert load_image(data).size == (40, 20)


def test_cmyk() -> None:
    image = load_image(encoded(halves().convert("CMYK"), "JPEG"))
    assert near(image, (3, 10), RED)
    assert near(image, (36, 10), BLUE)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(format: str) -> None:
    ramp = np.tile(np.array([0, 16384, 32768, 65535], np.uint16), (3, 1))
    image = load_image(encoded(Image.fromarray(ramp), format))
    assert np.asarray(image)[0, :, 0].tolist() == [0, 64, 128, 255]


def test_16_bit_colour() -> None:
    row = b"\x00" + struct.pack(">6H", 65535, 0, 0, 0, 32896, 65535)
    image = load_image(png(2, 1, 16, 2, row))
    assert [image.getpixel((x, 0)) for x in (0, 1)] == [(255, 0, 0), (0, 128, 255)]


def test_16_bit_dark_image_stays_dark() -> None:
    dark = np.full((2, 2), 257 * 10, np.uint16)
    assert load_image(encoded(Image.fromarray(dark), "PNG")).getpixel((0, 0)) == (10, 10, 10)


def test_float_and_32_bit_images() -> None:
    assert load_image(Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32))).getpixel((1, 0)) == (128, 128, 128)
    assert load_image(Image.fromarray(np.array([[0, 100, 255]], np.int32))).getpixel((1, 0)) == (100, 100, 100)
    assert load_image(Image.fromarray(np.array([[np.nan, 1.0]], np.float32))).getpixel((0, 0)) == (0, 0, 0)


def test_transparency_is_laid_on_white() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert load_image(encoded(clear, "PNG")).getpixel((0, 0)) == WHITE
    assert near(load_image(encoded(half, "WEBP", lossless=True)), (0, 0), (127, 127, 127), 2)
    palette = clear.convert("P")
    assert load_image(encoded(palette, "PNG", transparency=palette.getpixel((0, 0)))).getpixel((0, 0)) == WHITE
    assert load_image(encoded(Image.new("LA", (2, 2), (0, 0)), "PNG")).getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_few_colours(mode: str) -> None:
    white = Image.new("RGB", (5, 5), WHITE).convert(mode)
    assert load_image(encoded(white, "PNG")).getpixel((2, 2)) == WHITE


def test_one_pixel() -> None:
    image = load_image(encoded(Image.new("RGB", (1, 1), RED), "PNG"))
    assert image.size == (1, 1)
    assert (resize(image, 4)[0] == 255).all()


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_large_photos_are_reduced(format: str) -> None:
    image = load_image(encoded(halves((2000, 1500)), format))
    assert 512 <= image.height < 1024
    assert abs(image.width / image.height - 4 / 3) < 0.01
    assert near(image, (10, 10), RED)
    assert near(image, (image.width - 10, 10), BLUE)


def test_20000_pixels_wide() -> None:
    image = load_image(encoded(halves((20_000, 300)), "JPEG"))
    assert image.size == (20_000, 300)
    assert resize(image, 32).shape == (3, 32, 32)
    long = load_image(encoded(Image.new("L", (60_000, 500)), "PNG"))
    assert long.size == (30_000, 250)


def test_small_photos_keep_their_pixels() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (375, 500, 3), np.uint8)
    assert (np.asarray(load_image(encoded(Image.fromarray(noise), "PNG"))) == noise).all()


@pytest.mark.filterwarnings("ignore:Image size")
def test_a_bomb_is_refused_unread() -> None:
    for side in (12_500, 60_000):  # past our own limit, and past Pillow's
        bomb = png(side, side, 8, 0, b"\x00")
        with pytest.raises(InputError, match="million"):
            load_image(bomb)
    assert MAX_PIXELS < 12_500**2


def test_errors_are_one_line(tmp_path: Path) -> None:
    whole = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)), "JPEG")
    corrupt = bytearray(encoded(halves(), "PNG"))
    corrupt[60] ^= 255
    cases = {
        "truncated.jpg": (whole[: len(whole) // 2], "truncated.jpg is a broken image: .*truncated"),
        "corrupt.png": (bytes(corrupt), "corrupt.png is a broken image"),
        "header.png": (encoded(halves(), "PNG")[:20], "header.png is "),
        "empty.jpg": (b"", "empty.jpg is empty"),
        "text.jpg": (b"not a photo\n" * 50, "text.jpg is not an image"),
    }
    for name, (data, message) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=message) as failure:
            load_image(tmp_path / name)
        assert "\n" not in failure.value.message
    with pytest.raises(InputError, match="is a directory"):
        load_image(tmp_path)
    with pytest.raises(NotFoundError, match=r"absent\.jpg does not exist"):
        load_image(str(tmp_path / "absent.jpg"))
    with pytest.raises(InputError, match="int"):
        load_image(3)


def test_objects_that_open_are_read() -> None:
    class Member:
        name = "photos.zip/1.png"

        def open(self) -> bytes:
            return b"" if self.name == "empty" else encoded(halves(), "PNG")

    assert load_image(Member()).size == (40, 20)
    empty = Member()
    empty.name = "empty"
    with pytest.raises(InputError, match="empty is empty"):
        load_image(empty)


def test_resize_takes_the_whole_photo() -> None:
    pixels = resize(halves((90, 20)), 16)
    assert pixels.shape == (3, 16, 16)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert (pixels[0, :, 0] == 255).all()
    assert (pixels[2, :, -1] == 255).all()
