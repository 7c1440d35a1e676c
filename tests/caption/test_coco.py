"""COCO as its publisher packs it, made small; and what its captions name."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from condgen_caption.boxes import Box
from condgen_caption.coco import coco
from condgen_caption.rightness import Rightness
from condgen_cli.data.image import load_image
from condgen_cli.data.store import wanted_archives
from condgen_cli.errors import IntegrityError, NotFoundError, UsageError
from condgen_cli.generation import Generation
from condgen_cli.item import Item
from condgen_cli.registry.plugins import manager

IDS = range(1, 9)


def photo() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(stream, "JPEG")
    return stream.getvalue()


def captions(ids: Any, name: str = "{:012}.jpg") -> dict[str, Any]:
    return {
        "images": [{"id": index, "file_name": name.format(index)} for index in ids],
        "annotations": [{"image_id": index, "caption": f" caption {part} of {index}\n"} for part in range(2) for index in ids],
    }


def instances(ids: Any, box: tuple[float, ...] = (10, 30, 20, 30)) -> dict[str, Any]:
    return {
        "images": [{"id": index, "file_name": "", "width": 40, "height": 60} for index in ids],
        "annotations": [{"image_id": ids[0], "category_id": 18, "bbox": box, "iscrowd": 0}],
        "categories": [{"id": 18, "name": "dog"}],
    }


def write(root: Path, documents: Mapping[str, Any]) -> Path:
    for name, document in documents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
    return root


def pack(path: Path, files: Mapping[str, Any]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content if isinstance(content, bytes) else json.dumps(content))


def test_a_split_of_ones_own(tmp_path: Path) -> None:
    root = write(
        tmp_path, {"annotations/captions_dev.json": captions([1, 2]), "annotations/instances_dev.json": instances([2])}
    )
    pack(root / "photos.zip", {f"{index:012}.webp": photo() for index in IDS})
    first, second = coco(root, "dev")
    assert first.id == "000000000001"
    assert first.references == ("caption 0 of 1", "caption 1 of 1")
    assert load_image(first.condition).size == (8, 6)
    assert "boxes" not in first.meta
    assert second.meta["boxes"] == (Box("dog", 0.25, 0.5, 0.5, 0.5),)


@pytest.mark.parametrize("packed", [False, True])
def test_published_files_packed_and_unpacked(tmp_path: Path, packed: bool) -> None:
    texts = {f"annotations/captions_{part}2017.json": captions(ids) for part, ids in (("train", [9]), ("val", list(IDS)))}
    texts |= {"annotations/instances_train2017.json": instances([9])}
    photos = {f"{part}2017/{index:012}.jpg": photo() for part, ids in (("train", [9]), ("val", IDS)) for index in ids}
    if packed:
        pack(tmp_path / "annotations_trainval2017.zip", texts)
        pack(tmp_path / "train2017.zip", {name: data for name, data in photos.items() if name.startswith("train")})
        pack(tmp_path / "val2017.zip", {name: data for name, data in photos.items() if name.startswith("val")})
    else:
        write(tmp_path, texts | photos)
    dev, test = ({item.id for item in coco(tmp_path, split)} for split in ("dev", "test"))
    assert not dev & test
    assert dev | test == {f"{index:012}" for index in IDS}
    (train,) = coco(tmp_path, "train")
    assert "boxes" not in train.meta  # a large file, which training doesn't need
    (train,) = coco(tmp_path, "train", boxes="yes")
    assert train.meta["boxes"]
    with pytest.raises(NotFoundError, match="captions_train2014"):
        coco(tmp_path, "train", subset="2014")


def test_the_split_of_karpathy(tmp_path: Path) -> None:
    parts = ["train", "restval", "val", "test"]
    described = [
        {"cocoid": index, "filename": f"COCO_val2014_{index:012}.jpg", "split": part, "sentences": [{"raw": " a dog "}]}
        for index, part in enumerate(parts, 1)
    ]
    write(tmp_path, {"dataset_coco.json": {"images": described}, "annotations/instances_val2014.json": instances([3])})
    write(tmp_path / "val2014", {one["filename"]: photo() for one in described})
    assert {split: [item.id[-1] for item in coco(tmp_path, split)] for split in ("train", "dev", "test")} == {
        "train": ["1", "2"],
        "dev": ["3"],
        "test": ["4"],
    }
    assert coco(tmp_path, "dev")[0].meta["boxes"]


@pytest.mark.parametrize(
    ("documents", "error", "message"),
    [
        ({}, NotFoundError, "lacks the captions"),
        ({"annotations/captions_dev.json": captions([77])}, NotFoundError, "lacks 1 of the split's 1 photos"),
        ({"annotations/captions_dev.json": b"{}"}, IntegrityError, "images: Field required"),
        ({"annotations/captions_dev.json": b"\xff"}, IntegrityError, "not as published"),
        (
            {"annotations/captions_dev.json": {"images": [{"id": 1, "file_name": "000000000001.jpg"}], "annotations": []}},
            IntegrityError,
            "no caption for 000000000001.jpg",
        ),
        (
            {
                "annotations/captions_dev.json": captions([1]),
                "annotations/instances_dev.json": {**instances([1]), "categories": []},
            },
            IntegrityError,
            "lacks the photo's size or the class",
        ),
    ],
)
def test_missing_and_damaged_files(tmp_path: Path, documents: Any, error: type[Exception], message: str) -> None:
    write(tmp_path / "photos", {"000000000001.jpg": photo()})
    with pytest.raises(error, match=message):
        coco(write(tmp_path, documents), "dev")


def test_pulling_names_a_year() -> None:
    spec = manager().datasets["coco"]
    assert [archive.path for archive in wanted_archives(spec, "2017")] == [
        "annotations_trainval2017.zip",
        "val2017.zip",
        "train2017.zip",
    ]
    with pytest.raises(UsageError, match="several subsets"):
        wanted_archives(spec)


def test_things_that_a_caption_names_are_right_if_a_reference_names_them() -> None:
    metric = Rightness()
    items = [Item("1", None, ("a puppy on a sofa", "a dog")), Item("2", None, ("a street",)), Item("3", None, ("two cats",))]
    outputs = ["a dog on a couch next to a cat", "a dog and another dog", "a field"]
    totals = metric.statistics(items, [Generation(text) for text in outputs])
    assert totals.tolist() == [[2, 3, 1], [0, 1, 1], [0, 0, 1]]
    scores = metric.score(totals.sum(0), 3)
    assert float(scores["things"]) == pytest.approx(50)
    assert float(scores["things_named"]) == pytest.approx(4 / 3)
    assert metric.remarks(items, totals[2]) == {"things": "no caption names a thing of COCO's classes"}
