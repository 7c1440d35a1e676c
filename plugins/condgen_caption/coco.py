"""Reader of COCO: captioned photos, with boxes of the things in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from condgen_caption.boxes import Box
from condgen_caption.data import photos_by_stem
from condgen_cli.data.archives import Member, Tree, open_tree
from condgen_cli.data.splits import hash_text
from condgen_cli.errors import IntegrityError, NotFoundError
from condgen_cli.model import Item

__all__ = ["coco"]

PULL = "condgen data pull coco --set subset=2017, or name its folder with --data-dir"
YEARS = ("2017", "2014")
KARPATHY = "dataset_coco.json"
"""The split of Karpathy & Fei-Fei 2015, in the file of its authors."""

_KARPATHY_SPLITS = {"train": ("train", "restval"), "dev": ("val",), "test": ("test",)}


class _Image(BaseModel):
    id: int
    file_name: str
    width: int = 0
    height: int = 0


class _Caption(BaseModel):
    image_id: int
    caption: str


class _Instance(BaseModel):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]


class _Category(BaseModel):
    id: int
    name: str


class _Captions(BaseModel):
    images: list[_Image]
    annotations: list[_Caption]


class _Instances(BaseModel):
    images: list[_Image]
    annotations: list[_Instance]
    categories: list[_Category]


class _Sentence(BaseModel):
    raw: str


class _Described(BaseModel):
    cocoid: int
    filename: str
    split: str
    sentences: list[_Sentence]


class _Karpathy(BaseModel):
    images: list[_Described]


Document = TypeVar("Document", bound=BaseModel)


class _Photo(NamedTuple):
    """A captioned photo: COCO's id, its file and its captions."""

    id: int
    file: str
    captions: tuple[str, ...]


def coco(root: Path, split: str, subset: str = "", boxes: str = "") -> Sequence[Item]:
    """COCO (Lin et al. 2014; captions: Chen et al. 2015) in its publisher's layout, packed or unpacked.

    Captions come from the first of these that is there, below ``root`` or in a zip in it:

    * ``annotations/captions_{train,dev,test}.json``, in COCO's format: a split of one's own;
    * ``dataset_coco.json``, the split of Karpathy & Fei-Fei 2015: 113,287 / 5,000 / 5,000 photos of 2014;
    * ``annotations/captions_{train,val}2017.json`` or ``…2014.json``. The publisher keeps the captions of its test photos, so
      ``dev`` and ``test`` are the two halves of ``val``, by a hash of the photo's id.

    Photos lie in folders or zips named ``train2017``, ``val2014``, ``photos`` and so on, and are found by name without suffix.

    Args:
        root: the folder that holds the files.
        split: ``train``, ``dev`` or ``test``.
        subset: ``2014`` or ``2017``, the year of the publisher's files; empty: whichever is there.
        boxes: ``yes`` reads boxes for the training split as well, whose published file is large.
    Returns:
        Items in the order of the captions' file, ids being the photos' names without suffix. ``meta["boxes"]`` of a photo that
        ``instances_*.json`` lists is a tuple of ``Box``, empty where nothing of COCO's classes is in it.
    Raises:
        NotFoundError: if captions or a photo of the split is missing.
        IntegrityError: if a file is damaged or isn't as published.
    """
    files = _Files(root)
    photos, instances = _find_split(files, split, YEARS if not subset else (subset,))
    found = files.photos()
    missing = [photo.file for photo in photos if PurePosixPath(photo.file).stem not in found]
    if missing:
        raise NotFoundError(f"{root} lacks {len(missing)} of the split's {len(photos)} photos, such as {missing[0]}", PULL)
    things: dict[int, tuple[Box, ...]] = {}
    if split != "train" or boxes == "yes":
        for name in instances:
            things |= _boxes(files, name)
    items = []
    for photo in photos:
        condition = found[PurePosixPath(photo.file).stem]
        meta = {"boxes": things[photo.id]} if photo.id in things else {}
        items.append(Item(PurePosixPath(photo.file).stem, condition, photo.captions, source=str(condition), meta=meta))
    return items


class _Files:
    """The files below a folder and in the zips in it.

    Args:
        root: the folder.
    Raises:
        NotFoundError: if it isn't there.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise NotFoundError(f"no folder {root}", PULL)
        self.root = root

    def find(self, name: str) -> Member | None:
        """The JSON file with this name below ``annotations``, in the folder itself, or in a zip of annotations."""
        for place in (self.root / "annotations", self.root):
            if (place / name).is_file():
                return Member(open_tree(place), name)
        for path in sorted([*self.root.glob("annotations*.zip"), *self.root.glob("caption_datasets.zip")]):
            tree = _open(path)
            for member in (name, f"annotations/{name}"):
                if member in tree.names():
                    return Member(tree, member)
        return None

    def photos(self) -> Mapping[str, Member]:
        """Every photo by its name without suffix."""
        found: dict[str, Member] = {}
        for path in sorted(self.root.iterdir()):
            if path.name != "annotations" and (path.is_dir() or path.suffix == ".zip"):
                tree = _open(path)
                found |= {stem: Member(tree, name) for stem, name in photos_by_stem(tree).items()}
        return found


def _open(path: Path) -> Tree:
    try:
        return open_tree(path)
    except IntegrityError as error:
        raise IntegrityError(error.message, PULL) from None


def _find_split(files: _Files, split: str, years: Sequence[str]) -> tuple[list[_Photo], list[str]]:
    """The photos of a split, and the names of the files that may have their boxes."""
    if own := files.find(f"captions_{split}.json"):
        return _captioned(own), [f"instances_{split}.json"]
    of_2014 = ["instances_train2014.json", "instances_val2014.json"]
    if "2014" in years and (karpathy := files.find(KARPATHY)):
        return _karpathy(karpathy, split), of_2014
    part = "train" if split == "train" else "val"
    for year in years:
        if captions := files.find(f"captions_{part}{year}.json"):
            photos = _captioned(captions)
            if part == "val":
                photos = [photo for photo in photos if hash_text(str(photo.id)) % 2 == (split == "test")]
            return photos, [f"instances_{part}{year}.json"]
    raise NotFoundError(f"{files.root} lacks the captions of COCO, annotations/captions_{part}{years[0]}.json", PULL)


def _captioned(member: Member) -> list[_Photo]:
    document = _parse(member, _Captions)
    captions: dict[int, list[str]] = {}
    for one in document.annotations:
        if text := one.caption.strip():
            captions.setdefault(one.image_id, []).append(text)
    bare = [image.file_name for image in document.images if image.id not in captions]
    if bare:
        raise IntegrityError(f"{member} has no caption for {bare[0]}", PULL)
    return [_Photo(image.id, image.file_name, tuple(captions[image.id])) for image in document.images]


def _karpathy(member: Member, split: str) -> list[_Photo]:
    return [
        _Photo(one.cocoid, one.filename, tuple(sentence.raw.strip() for sentence in one.sentences))
        for one in _parse(member, _Karpathy).images
        if one.split in _KARPATHY_SPLITS[split]
    ]


def _boxes(files: _Files, name: str) -> dict[int, tuple[Box, ...]]:
    """Boxes of the photos that a file lists, by their ids; none if there is no such file."""
    member = files.find(name)
    if member is None:
        return {}
    document = _parse(member, _Instances)
    names = {category.id: category.name for category in document.categories}
    sizes = {image.id: (image.width, image.height) for image in document.images}
    boxes: dict[int, list[Box]] = {image: [] for image in sizes}
    for one in document.annotations:
        width, height = sizes.get(one.image_id, (0, 0))
        if one.category_id not in names or width <= 0 or height <= 0:
            raise IntegrityError(f"{member}: a box of photo {one.image_id} lacks the photo's size or the class", PULL)
        left, top, wide, high = one.bbox
        boxes[one.image_id].append(Box(names[one.category_id], left / width, top / height, wide / width, high / height))
    return {image: tuple(found) for image, found in boxes.items()}


def _parse(member: Member, schema: type[Document]) -> Document:
    try:
        return schema.model_validate_json(member.open())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise IntegrityError(f"{member} is not as published: {place}: {first['msg']}", PULL) from None
