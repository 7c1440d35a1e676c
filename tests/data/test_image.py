"""Photos of every kind become upright RGB images, or one clear line."""

from __future__ import annotations

import io
import re
import struct
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from condgen_cli.data.image import MAX_PIXELS, Photo, load_image, resize
from condgen_cli.errors import InputError, NotFoundError
from condgen_cli.item import Content

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


@pytest.mark.parametrize(("mode", "form"), [("P", "PNG"), ("LA", "PNG"), ("1", "PNG"), ("L", "GIF")])
def test_kilobytes_that_unpack_to_a_gigabyte_are_refused_unread(mode: str, form: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    Image.new(mode, (8000, 8000)).save(path, form)
    with pytest.raises(InputError, match="8000×8000 pixels in so few bytes"):
        load_image(path)
    with path.open("ab") as file:
        file.truncate(500_000)  # as much as a photo of that size might have
    assert load_image(path).size != (0, 0)


def test_errors_are_one_line(tmp_path: Path) -> None:
    whole = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)), "JPEG")
    corrupt = bytearray(encoded(halves(), "PNG"))
    corrupt[41:] = bytes(len(corrupt) - 41)  # from the beginning of the pixels on
    cases = {
        "head.jpg": (whole[:100], "head.jpg is a broken image"),
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


# Numbers of more than 8 bits


def ramp(bits: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint16]]:
    """Black to white in so many bits, 256 wide."""
    return np.tile(np.round(np.arange(256) / 255 * (2**bits - 1)).astype(np.uint16), (8, 1))


def colours(bits: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint16]]:
    """A ramp in red, its reverse in green, half in blue."""
    grey = ramp(bits)
    return np.stack([grey, grey[:, ::-1], grey // 2], -1)


def deep_png(values: np.ndarray[Any, Any], colour_type: int, before: bytes = b"") -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    whole = png(values.shape[1], values.shape[0], 16, colour_type, rows)
    return whole[:33] + before + whole[33:]


def tiff(values: np.ndarray[Any, Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def assert_looks_like(image: Image.Image, values: np.ndarray[Any, Any], tolerance: int = 1) -> None:
    """An image against numbers from 0 to 1, of a grey or three colours."""
    wanted = np.broadcast_to(values[..., None] if values.ndim == 2 else values, (*values.shape[:2], 3)) * 255
    assert np.abs(np.asarray(image, np.float64) - wanted).max() <= tolerance


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_few_bits_in_files_of_16_are_not_dark(bits: int) -> None:
    grey, colour = ramp(bits), colours(bits)
    opaque = np.full((*grey.shape, 1), 65535, np.uint16)
    planes = np.ascontiguousarray(colour.transpose(2, 0, 1))
    greys = [
        encoded(Image.fromarray(grey), "PNG"),
        encoded(Image.fromarray(grey), "TIFF"),
        deep_png(np.dstack([grey[..., None], opaque]), 4),
        tiff(grey.astype(">u2"), byteorder=">"),
        tiff(grey, compression="zlib", predictor=True),
        tiff((2**bits - 1 - grey).astype(np.uint16), photometric="miniswhite"),
    ]
    coloured = [
        deep_png(colour, 2),
        deep_png(np.dstack([colour, opaque]), 6),
        tiff(colour, photometric="rgb"),
        tiff(planes, photometric="rgb", planarconfig="separate"),
        tiff(planes.astype(">u2"), photometric="rgb", planarconfig="separate", byteorder=">", rowsperstrip=3),
        tiff(planes, photometric="rgb", planarconfig="separate", compression="zlib", tile=(16, 16)),
    ]
    for content in greys:
        assert_looks_like(load_image(content), grey / (2**bits - 1))
    for content in coloured:
        assert_looks_like(load_image(content), colour / (2**bits - 1), tolerance=2)


def test_declared_bits_count_where_a_file_is_dark() -> None:
    dark = ramp(10)  # all of it in the darkest quarter of 12 bits
    significant = chunk(b"sBIT", bytes([12]))
    assert_looks_like(load_image(deep_png(dark, 0, significant)), dark / 4095)
    assert_looks_like(load_image(tiff(dark, extratags=[(281, "H", 1, 4095, True)])), dark / 4095)


@pytest.mark.parametrize(
    ("type", "scale", "offset"),
    [
        ("float16", 1, 0),
        ("float32", 1, 0),
        ("float64", 1, 0),
        ("float32", 255, 0),
        ("float32", 5.3, 0),
        ("float32", 0.01, 0),
        ("float32", 2, -1),
        ("int8", 127, 0),
        ("int16", 32767, 0),
        ("int16", 4000, -1000),
        (">i2", 32767, 0),
        ("uint32", 4095, 0),
        ("uint32", 2**32 - 1, 0),
        ("int32", 1e6, 0),
        ("uint64", 1e6, 0),
    ],
)
def test_numbers_of_any_type_go_from_black_to_white(type: str, scale: float, offset: float) -> None:
    grey = ramp(16) / 65535
    values = (grey * scale + offset).astype(type)
    assert_looks_like(load_image(tiff(values)), grey, tolerance=2)
    if values.dtype.kind == "f":
        values[0, 0], values[0, 1] = np.inf, np.nan
        image = load_image(tiff(values))
        assert image.getpixel((0, 0)) == WHITE
        assert image.getpixel((128, 1)) == pytest.approx((128, 128, 128), abs=2)


@pytest.mark.filterwarnings("ignore:Image.Image.getdata")  # which pillow-heif calls
def test_every_mode_that_pillow_writes() -> None:
    picture = halves((64, 32))
    for mode in ("1", "L", "P", "LA", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "RGBa"):
        for format in ("TIFF", "PNG", "JPEG", "JPEG2000", "AVIF", "HEIF", "JXL"):
            source = picture.convert("RGBA") if mode == "RGBa" else picture
            if (mode, format) == ("YCbCr", "TIFF"):
                continue  # older releases of Pillow write it wrongly
            try:
                content = encoded(_in_lab(source) if mode == "LAB" else source.convert(mode), format)
            except (OSError, ValueError, KeyError, SystemError, NotImplementedError):
                continue  # the format has no such mode
            image = load_image(content)
            grey = mode in ("1", "L", "LA")
            left, right = (Image.new("RGB", (1, 1), colour).convert("L").getpixel((0, 0)) for colour in (RED, BLUE))
            if mode != "1":
                assert near(image, (8, 16), (left,) * 3 if grey else RED), (mode, format)
                assert near(image, (56, 16), (right,) * 3 if grey else BLUE), (mode, format)


def _in_lab(image: Image.Image) -> Image.Image:
    lab, colours = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, colours, lab, outputMode="LAB")
    assert converted is not None
    return converted


# Damage


def photograph(size: tuple[int, int] = (160, 120)) -> Image.Image:
    from skimage import data

    return Image.fromarray(data.astronaut()).resize(size)


FORMATS: dict[str, dict[str, Any]] = {
    "JPEG": {},
    "JPEG progressive": {"progressive": True},
    "PNG": {},
    "WEBP": {},
    "WEBP lossless": {"lossless": True},
    "GIF": {},
    "TIFF": {},
    "BMP": {},
    "PPM": {},
    "AVIF": {},
    "HEIF": {},
    "JPEG2000": {},
}


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_there_of_a_photo_that_is_cut_short_is_used(name: str, tmp_path: Path) -> None:
    format = name.partition(" ")[0]
    whole = encoded(photograph(), format, **FORMATS[name])
    path = tmp_path / "a"
    path.write_bytes(whole)
    photo = Photo(str(path))
    seen = np.asarray(load_image(photo), np.float64)
    assert photo.warnings == ()
    for cut in (20, len(whole) // 3):
        path.write_bytes(whole[:-cut])
        rest = np.asarray(load_image(photo), np.float64)
        assert rest.shape == seen.shape
        begun = slice(-30, None) if format == "BMP" else slice(0, 30)  # which goes from the bottom up
        assert np.abs(rest[begun] - seen[begun]).mean() < 12
        (warning,) = photo.warnings
        assert warning.startswith("cut short: ")
        assert re.search(r"\d+ %|bytes are missing|its end is missing", warning)


def test_a_cut_tiff_of_strips_or_planes_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    pixels = np.asarray(photograph())
    planes = np.ascontiguousarray((pixels.astype(np.uint16) * 257).transpose(2, 0, 1))
    for whole, channels in (
        (tiff(pixels, photometric="rgb", compression="zlib", rowsperstrip=8), [0, 1, 2]),
        (tiff(planes, photometric="rgb", planarconfig="separate"), [0, 1]),
    ):
        path = tmp_path / "a.tif"
        path.write_bytes(whole[: len(whole) * 3 // 4])
        photo = Photo(str(path))
        rest = np.asarray(load_image(photo))
        assert np.array_equal(rest[:60, :, channels], pixels[:60, :, channels])
        assert re.fullmatch(r"cut short: [23]\d % of the picture is missing", photo.warnings[0])


def test_damaged_photos_beside_whole_ones_are_told_apart(tmp_path: Path) -> None:
    """Photos are decoded in several threads, and what may be lenient with one must not be with another."""
    content = encoded(photograph((640, 480)), "JPEG")
    photos = []
    for index in range(16):
        path = tmp_path / f"{index}.jpg"
        path.write_bytes(content[: len(content) // 2] if index % 2 else content)
        photos.append(Photo(str(path)))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(load_image, photos))
    assert [bool(photo.warnings) for photo in photos] == [bool(index % 2) for index in range(16)]


def test_programs_are_not_run() -> None:
    with pytest.raises(InputError, match="not an image of a known format"):
        load_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(/tmp/x) (w) file\n%%EOF\n")


def test_contents_are_read() -> None:
    class Member(Content):
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


def test_a_strip_that_claims_a_gigabyte_costs_what_it_holds() -> None:
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize((24, 16)).convert("I;16").save(buffer, "TIFF")
    whole = buffer.getvalue()
    entry = struct.pack("<HHI", 279, 4, 1)  # StripByteCounts, a number of 32 bits
    place = whole.index(entry) + len(entry)
    claimed = whole[:place] + struct.pack("<I", 993_025_307) + whole[place + 4 :]
    tracemalloc.start()
    image = load_image(claimed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000_000
    assert np.array_equal(np.asarray(image), np.asarray(load_image(whole)))
