"""Readers of captioned photos: Flickr8k as published, and users' own folders.

All items are made on opening, so that missing photos and malformed lines are reported early; photos are read when an item's
condition is opened.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from condgen_cli.data.archives import Member, Tree, member_name, open_tree
from condgen_cli.data.content import Kind, suffixes_of
from condgen_cli.data.packed import read_text
from condgen_cli.data.splits import SPLITS, split_by_hash
from condgen_cli.errors import InputError, IntegrityError, NotFoundError, UsageError
from condgen_cli.files import protect
from condgen_cli.model import Item

__all__ = ["flickr8k", "folder", "photos_by_stem"]

PULL = "condgen data pull flickr8k, or name its folder with --data-dir"
PHOTOS = ("Flickr8k_Dataset.zip", "Flicker8k_Dataset", "Flickr8k_Dataset")
"""The published zip, and usual names of its unpacked folder; the folder in the zip is spelt ``Flicker8k_Dataset``."""
TEXTS = ("Flickr8k_text.zip", "Flickr8k_text", ".")
CAPTIONS = "Flickr8k.token.txt"


def flickr8k(root: Path, split: str) -> Sequence[Item]:
    """Flickr8k (Hodosh et al. 2013) in its publisher's layout: 6,000 / 1,000 / 1,000 photos with five captions each.

    ``Flickr8k_Dataset.zip`` and ``Flickr8k_text.zip`` are read as they are, or unpacked. Photos are found by name without
    suffix, so re-encoded copies (PNG, WebP, …) work as well.

    The published data has 8,091 photos, of which 91 belong to no split, and captions of one missing photo
    (``2258277193_586949ec62.jpg``, partly under the name ``2258277193_586949ec62.jpg.1``). None of these is in an item.

    Args:
        root: the folder that holds the files, or one that holds it as ``flickr8k``.
        split: ``train``, ``dev`` or ``test``.
    Returns:
        Items in the order of the split's list, ids being the photos' names without suffix.
    Raises:
        NotFoundError: if a file or a photo of the split is missing.
        IntegrityError: if a zip is damaged or a line isn't as published.
    """
    root = root / "flickr8k" if (root / "flickr8k").is_dir() else root
    photos = _find_tree(root, PHOTOS, "the photos")
    texts = _find_tree(root, TEXTS, "the captions", holding=CAPTIONS)
    captions = _flickr8k_captions(_text(texts, CAPTIONS))
    names = _text(texts, f"Flickr_8k.{split}Images.txt").split()
    members = photos_by_stem(photos)
    missing = [name for name in names if _stem(name) not in members]
    if missing:
        raise NotFoundError(f"{photos} lacks {len(missing)} of the split's {len(names)} photos, such as {missing[0]}", PULL)
    uncaptioned = [name for name in names if name not in captions]
    if uncaptioned:
        raise IntegrityError(f"{CAPTIONS} has no caption for {uncaptioned[0]} of split {split}", PULL)
    conditions = [Member(photos, members[_stem(name)]) for name in names]
    return [
        Item(_stem(name), condition, tuple(captions[name]), source=str(condition))
        for name, condition in zip(names, conditions, strict=True)
    ]


def _find_tree(root: Path, places: Sequence[str], what: str, holding: str = "") -> Tree:
    """The first of ``places`` below ``root`` that exists and, if it is a folder, has the file ``holding``."""
    if not root.is_dir():
        raise NotFoundError(f"no folder {root}", PULL)
    for place in places:
        path = root / place
        if path.is_file() or (path / holding).exists():
            return _open(path)
    unpacked = holding or "Flicker8k_Dataset/"
    raise NotFoundError(f"{root} lacks {what} of Flickr8k: {places[0]}, or {unpacked} unpacked from it", PULL)


def _open(path: Path) -> Tree:
    try:
        return open_tree(path)
    except IntegrityError as error:
        raise IntegrityError(error.message, PULL) from None


def _text(tree: Tree, name: str) -> str:
    try:
        return Member(tree, name).text()
    except (NotFoundError, IntegrityError) as error:
        raise type(error)(error.message, PULL) from None


def _flickr8k_captions(text: str) -> dict[str, list[str]]:
    """Captions by name from lines ``NAME#NUMBER TAB CAPTION``."""
    captions: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        key, tab, caption = line.partition("\t")
        name, hash_sign, _ = key.rpartition("#")
        if not tab or not hash_sign or not caption.strip():
            raise IntegrityError(f"{CAPTIONS}:{number}: expected NAME#NUMBER, a tab and a caption", PULL)
        captions.setdefault(name, []).append(caption.strip())
    return captions


def photos_by_stem(tree: Tree) -> dict[str, str]:
    """Member names by photo name, without macOS resource forks (``__MACOSX``, ``._``)."""
    suffixes = suffixes_of([Kind.photo])
    return {
        _stem(name): name
        for name in tree.names()
        if PurePosixPath(name).suffix.lower() in suffixes
        and not name.startswith("__MACOSX/")
        and not PurePosixPath(name).name.startswith(".")
    }


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


@dataclass(frozen=True)
class _Line:
    """A line of a captions file; ``place`` is its file and number."""

    place: str
    image: str
    captions: tuple[str, ...]
    split: str


def folder(root: Path, split: str) -> Sequence[Item]:
    """Users' own photos: a folder with ``captions.tsv`` or ``captions.jsonl`` and photos in or below it.

    Each line of ``captions.tsv`` is a photo's path, a tab and a caption, with one line per caption; a third column may name the
    split. A first line ``image TAB caption`` is a heading. Each line of ``captions.jsonl`` is an object
    ``{"image": PATH, "captions": [TEXT, …]}``, optionally with ``"split"``. Paths are relative to the folder.

    Without given splits, 80 % of the photos are for training, 10 % for development and 10 % for testing, by a hash of the path:
    adding photos never moves others to another split.

    Args:
        root: the folder.
        split: ``train``, ``dev`` or ``test``.
    Returns:
        Items in the file's order, ids being the paths.
    Raises:
        UsageError: if no photo is in the split.
        NotFoundError: if the captions or a photo is missing.
        InputError: if a line is malformed; the message begins with its file and number.
    """
    photos: dict[str, _Line] = {}
    for line in _lines(root):
        known = photos.get(line.image)
        if known and known.split != line.split:
            raise InputError(f"{line.place}: {line.image} is already in split {known.split!r}")
        photos[line.image] = _Line(
            line.place, line.image, known.captions + line.captions if known else line.captions, line.split
        )
    _check_photos(root, photos.values())
    counts = Counter(line.split for line in photos.values())
    if not counts[split]:
        found = ", ".join(f"{name} {counts[name]}" for name in SPLITS)
        raise UsageError(f"no photo of {root} is in split {split} ({found})", "name each line's split in the captions file")
    for line in photos.values():
        protect(root / line.image)
    return [
        Item(line.image, str(root / line.image), line.captions, source=str(root / line.image))
        for line in photos.values()
        if line.split == split
    ]


def _lines(root: Path) -> Iterator[_Line]:
    tsv, jsonl = root / "captions.tsv", root / "captions.jsonl"
    present = [path for path in (tsv, jsonl) if path.is_file()]
    if not present:
        raise NotFoundError(f"{root} holds neither captions.tsv nor captions.jsonl", "a line of captions.tsv: path TAB caption")
    if len(present) > 1:
        raise UsageError(f"{root} holds both captions.tsv and captions.jsonl; keep one")
    path = present[0]
    parse = _tsv_line if path == tsv else _json_line
    explicit: bool | None = None
    for number, text in enumerate(read_text(path).split("\n"), 1):  # not splitlines(): a caption may hold a form feed
        place = f"{path}:{number}"
        if not text.strip() or (path == tsv and number == 1 and _is_heading(text)):
            continue
        image, captions, split = parse(text, place)
        if explicit is None:
            explicit = bool(split)
        if explicit != bool(split):
            raise InputError(f"{place}: either all lines name a split or none does")
        yield _Line(place, image, captions, split or split_by_hash(image, 10, dev=[8], test=[9]))


def _is_heading(text: str) -> bool:
    return [field.strip().lower() for field in text.split("\t")][:2] == ["image", "caption"]


def _tsv_line(text: str, place: str) -> tuple[str, tuple[str, ...], str]:
    fields = [field.strip() for field in text.split("\t")]
    if len(fields) not in (2, 3) or not fields[1]:
        raise InputError(f"{place}: expected a path, a tab, a caption and optionally a tab and a split")
    return _image(fields[0], place), (fields[1],), _split(fields[2], place) if len(fields) == 3 else ""


def _json_line(text: str, place: str) -> tuple[str, tuple[str, ...], str]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{place}: not JSON") from None
    captions = record.get("captions") if isinstance(record, dict) else None
    if not isinstance(captions, list) or not captions or not all(isinstance(text, str) and text.strip() for text in captions):
        raise InputError(f'{place}: expected {{"image": PATH, "captions": [TEXT, …]}}')
    split = record.get("split")
    return (
        _image(record.get("image"), place),
        tuple(text.strip() for text in captions),
        "" if split is None else _split(split, place),
    )


def _image(name: object, place: str) -> str:
    try:
        return member_name(name if isinstance(name, str) else "")
    except IntegrityError:
        raise InputError(f"{place}: {name!r} is not a path inside the folder") from None


def _split(name: object, place: str) -> str:
    if name not in SPLITS:
        raise InputError(f"{place}: {name!r} is not a split; known: {', '.join(SPLITS)}")
    return str(name)


def _check_photos(root: Path, lines: Iterable[_Line]) -> None:
    for line in lines:
        if not (root / line.image).is_file():
            raise NotFoundError(f"{line.place}: no photo {root / line.image}")
