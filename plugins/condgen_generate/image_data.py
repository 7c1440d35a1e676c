"""Readers of pictures: MNIST in its fixed binarisation or in grey levels, and folders of small pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from condgen_cli.data.packed import find_file, read_bytes
from condgen_cli.data.splits import SPLITS, split_by_hash
from condgen_cli.errors import InputError, NotFoundError, UsageError
from condgen_cli.files import protect
from condgen_cli.item import Item

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["PictureItems", "binarized_mnist", "grey_mnist", "pictures"]

SIDE = 28
PACKED = "binarized_mnist_packbits.npz"
LAROCHELLE = "binarized_mnist_{split}.amat"
FILE_SPLITS = {"train": ("train",), "dev": ("valid", "validation", "dev"), "test": ("test",)}
"""Names of the splits in the files."""
GREY = {"train": "train-images-idx3-ubyte", "dev": "train-images-idx3-ubyte", "test": "t10k-images-idx3-ubyte"}
IDX_PICTURES = 0x803
"""Magic number of an idx file of pictures: bytes in three dimensions."""
GREY_DEV = 10_000
"""Number of last training pictures that are the dev split of grey MNIST."""
SUFFIXES = (".png", ".gif", ".jpg", ".jpeg", ".webp", ".bmp")
PALETTE_PICTURES = 400
LARGEST = 64
"""Largest side of a picture, in pixels; each pixel is a decoding step."""


class PictureItems(Sequence[Item]):
    """Pictures as items: the reference is the picture as a text of colour indices, the condition is empty.

    Args:
        pictures: (count, height, width) colour indices.
        palette: colours as ``rrggbb``.
        prefix: prefix of the ids.
    """

    def __init__(self, pictures: NDArray[np.uint8], palette: Sequence[str], prefix: str) -> None:
        self.pictures = pictures
        self.palette = tuple(palette)
        self.prefix = prefix

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Item:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        text = " ".join(map(str, self.pictures[index].ravel().tolist()))
        return Item(f"{self.prefix}-{index}", None, (text,), source=f"{self.prefix}-{index}")

    def __iter__(self) -> Iterator[Item]:
        return (self[index] for index in range(len(self)))


def binarized_mnist(root: Path, split: str) -> PictureItems:
    """MNIST's digits, each pixel sampled once as black or white (Salakhutdinov and Murray 2008), in Larochelle's splits.

    Args:
        root: folder with the published ``binarized_mnist_{train,valid,test}.amat``, or ``binarized_mnist_packbits.npz``.
        split: ``train``, ``dev`` or ``test``.
    Raises:
        NotFoundError: if neither is found.
        InputError: if the file is damaged.
    """
    packed = root / PACKED
    published = [root / LAROCHELLE.format(split=name) for name in FILE_SPLITS[split]]
    path = next((path for path in (packed, *published) if path.is_file()), None)
    if path is None:
        raise NotFoundError(f"{root} holds neither {published[0].name} nor {PACKED}", "condgen data show binarized-mnist")
    protect(path)
    try:
        bits = _read_packed(path, split) if path == packed else np.loadtxt(path, np.uint8, ndmin=2)
        digits = bits[:, : SIDE * SIDE].reshape(-1, SIDE, SIDE)
    except (OSError, ValueError, KeyError, StopIteration) as error:
        raise InputError(f"{path} is damaged: {error}") from None
    if digits.max(initial=0) > 1:
        raise InputError(f"{path} is damaged: a pixel is neither 0 nor 1")
    return PictureItems(digits, ("000000", "ffffff"), split)


def _read_packed(path: Path, split: str) -> NDArray[np.uint8]:
    with np.load(path, allow_pickle=False) as arrays:
        return np.unpackbits(arrays[next(name for name in FILE_SPLITS[split] if name in arrays.files)], axis=1)


def grey_mnist(root: Path, split: str, levels: str = "4") -> PictureItems:
    """MNIST's digits in equal steps of grey; the last 10,000 training pictures are the dev split.

    Args:
        root: folder with the publisher's ``train-images-idx3-ubyte`` and ``t10k-images-idx3-ubyte``, plain or as .gz.
        split: ``train``, ``dev`` or ``test``.
        levels: number of levels of grey, 2 to 256.
    Raises:
        UsageError: for another number of levels.
        NotFoundError, InputError, IntegrityError: if a file is missing, malformed, or damaged in its compressed form.
    """
    if not levels.isdecimal() or not 2 <= int(levels) <= 256:
        raise UsageError(f"levels can't be {levels}", "a number from 2 to 256")
    count = int(levels)
    digits = _idx(root, GREY[split])
    if split != "test":
        digits = digits[:-GREY_DEV] if split == "train" else digits[-GREY_DEV:]
    steps = (digits.astype(np.uint16) * count // 256).astype(np.uint8)
    greys = [f"{round(255 * level / (count - 1)):02x}" * 3 for level in range(count)]
    return PictureItems(steps, greys, split)


def _idx(root: Path, name: str) -> NDArray[np.uint8]:
    """The pictures of an idx file, (count, height, width)."""
    path = find_file(root / name)
    if path is None:
        raise NotFoundError(f"{root} holds neither {name} nor {name}.gz", "condgen data show mnist")
    content = read_bytes(path)
    try:
        kind, *shape = (int(number) for number in np.frombuffer(content[:16], ">u4"))
        if kind != IDX_PICTURES:
            raise ValueError("it holds no pictures")
        return np.frombuffer(content, np.uint8, offset=16).reshape(shape)
    except ValueError as error:
        raise InputError(f"{path} is not an idx file: {error}") from None


def pictures(root: Path, split: str, size: str = "20", colors: str = "16", tile: str = "") -> PictureItems:
    """A folder of small pictures, resized to one size and quantised to a common palette.

    A tenth is the dev split and a tenth the test split, by a hash of the picture's name. The palette is made of the training
    pictures (median cut); transparent pixels are white.

    Args:
        root: the folder, searched with its subfolders.
        split: ``train``, ``dev`` or ``test``.
        size: side of the pictures, in pixels; others are resized.
        colors: number of colours of the palette.
        tile: side of the pictures on a sheet with one pixel of margin around each; files are cut into these. Empty: each file
            is one picture.
    Raises:
        UsageError: for options out of range.
        NotFoundError: if there are too few pictures.
        InputError: if one can't be read.
    """
    side, count, cut = (
        _parse_number(value, name) for value, name in ((size, "size"), (colors, "colors"), (tile or "0", "tile"))
    )
    if not 1 <= side <= LARGEST or not 2 <= count <= 256:
        raise UsageError(f"size {size}, colors {colors}: a side has 1 to {LARGEST} pixels, a palette 2 to 256 colours")
    found: dict[str, list[Image.Image]] = {name: [] for name in SPLITS}
    for name, picture in _read(root, side, cut):
        found[split_by_hash(name, 10, dev=[8], test=[9])].append(picture)
    if cut and not any(found.values()) and any(path.suffix.lower() in SUFFIXES for path in root.rglob("*")):
        raise UsageError(f"{root} has no sheet of pictures of {tile} pixels", "--set tile= uses each file as one picture")
    if not found["train"] or not found[split]:
        raise NotFoundError(f"{root} holds too few pictures ({', '.join(SUFFIXES)}) for a split {split}")
    palette = _palette(found["train"], count)
    painted = np.stack([np.asarray(_paint(picture, palette)) for picture in found[split]])
    entries = bytes(palette.getpalette() or ())
    names = [entries[3 * index : 3 * index + 3].hex() for index in range(count)]
    return PictureItems(painted.astype(np.uint8), names, split)


def _parse_number(value: str, name: str) -> int:
    if not value.isdecimal():
        raise UsageError(f"{name} can't be {value!r}", "a whole number")
    return int(value)


def _read(root: Path, side: int, tile: int) -> Iterator[tuple[str, Image.Image]]:
    """Names, and pictures resized to ``side`` pixels on white, without blank tiles."""
    from PIL import Image, UnidentifiedImageError

    for path in sorted(root.rglob("*")):
        if path.suffix.lower() not in SUFFIXES:
            continue
        protect(path)
        try:
            with Image.open(path) as opened:
                whole = opened.convert("RGBA")
        except (OSError, UnidentifiedImageError, ValueError) as error:
            raise InputError(f"{path} can't be read: {error}") from None
        white = Image.new("RGBA", whole.size, "white")
        whole = Image.alpha_composite(white, whole).convert("RGB")
        for name, part in _tiles(whole, tile) if tile else [("", whole)]:
            if (extrema := part.getextrema()) != ((255, 255),) * 3 or not tile:
                assert extrema
                yield f"{path.relative_to(root).as_posix()}{name}", part.resize((side, side), Image.Resampling.BOX)


def _tiles(sheet: Image.Image, tile: int) -> Iterator[tuple[str, Image.Image]]:
    step = tile + 2
    for top in range(1, sheet.height - tile + 1, step):
        for left in range(1, sheet.width - tile + 1, step):
            yield f":{top // step}:{left // step}", sheet.crop((left, top, left + tile, top + tile))


def _paint(picture: Image.Image, palette: Image.Image) -> Image.Image:
    from PIL import Image

    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def _palette(pictures: Sequence[Image.Image], colors: int) -> Image.Image:
    """A palette image for the pixels of all pictures, or of about ``PALETTE_PICTURES`` of them."""
    from PIL import Image

    pictures = pictures[:: math.ceil(len(pictures) / PALETTE_PICTURES)]
    side = pictures[0].width
    across = math.ceil(math.sqrt(len(pictures)))
    mosaic = Image.new("RGB", (across * side, math.ceil(len(pictures) / across) * side), "white")
    for number, picture in enumerate(pictures):
        mosaic.paste(picture, (number % across * side, number // across * side))
    return mosaic.quantize(colors, Image.Quantize.MEDIANCUT, kmeans=3, dither=Image.Dither.NONE)
