"""Readers of captioned photos."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from condgen_caption.data import flickr8k, folder
from condgen_cli.data.image import load_image
from condgen_cli.errors import InputError, IntegrityError, NotFoundError, UsageError

SPLIT_NAMES = {"train": ["1_a.jpg", "2_b.jpg", "3_c.jpg"], "dev": ["4_d.jpg"], "test": ["5_e.jpg", "6_f.jpg"]}
NAMES = [name for names in SPLIT_NAMES.values() for name in names]
GHOST = "2258277193_586949ec62.jpg"


def photo(level: int, suffix: str = ".jpg") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), (level, level, level)).save(stream, Image.registered_extensions()[suffix])
    return stream.getvalue()


def captions(name: str) -> list[str]:
    return [f"caption {number} of {name} ." for number in range(5)]


def token_lines(names: Iterable[str]) -> str:
    ghosts = [f"{GHOST}#0\tnobody saw this .", f"{GHOST}.1#0\tnor this ."]
    lines = [f"{name}#{number}\t{text}" for name in names for number, text in enumerate(captions(name))]
    return "\n".join([*ghosts, *lines]) + "\n"


def texts() -> dict[str, bytes]:
    lists = {f"Flickr_8k.{split}Images.txt": "\n".join(names) + "\n" for split, names in SPLIT_NAMES.items()}
    return {name: text.encode() for name, text in {**lists, "Flickr8k.token.txt": token_lines(reversed(NAMES))}.items()}


def photos(suffix: str = ".jpg") -> dict[str, bytes]:
    found = {f"Flicker8k_Dataset/{Path(name).stem}{suffix}": photo(40 * i, suffix) for i, name in enumerate(NAMES)}
    unlisted = f"Flicker8k_Dataset/7_g{suffix}"
    return {
        **found,
        unlisted: photo(7),
        "__MACOSX/Flicker8k_Dataset/._1_a.jpg": b"fork",
        "Flicker8k_Dataset/._1_a.jpg": b"fork",
    }


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_files(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Flickr8k as its publisher packs it, six photos large."""
    root = tmp_path / "flickr8k"
    write_zip(root / "Flickr8k_Dataset.zip", photos())
    write_zip(root / "Flickr8k_text.zip", texts())
    return root


@pytest.mark.parametrize("split", SPLIT_NAMES)
def test_a_split_has_its_photos_in_the_order_of_its_list(packed: Path, split: str) -> None:
    items = flickr8k(packed, split)
    assert [item.id for item in items] == [Path(name).stem for name in SPLIT_NAMES[split]]
    assert [list(item.references) for item in items] == [captions(name) for name in SPLIT_NAMES[split]]


def test_photos_are_their_own(packed: Path) -> None:
    for split, names in SPLIT_NAMES.items():
        for item, name in zip(flickr8k(packed, split), names, strict=True):
            level = load_image(item.condition).getpixel((3, 3))
            assert isinstance(level, tuple)
            assert abs(level[0] - 40 * NAMES.index(name)) <= 2


def test_the_folder_above_is_found(packed: Path) -> None:
    assert len(flickr8k(packed.parent, "train")) == 3


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_photos_may_be_of_another_format(packed: Path, suffix: str) -> None:
    write_zip(packed / "Flickr8k_Dataset.zip", photos(suffix))
    assert [load_image(item.condition).size for item in flickr8k(packed, "test")] == [(8, 6), (8, 6)]


@pytest.mark.parametrize("photo_folder", [".", "Flickr8k_Dataset"])
@pytest.mark.parametrize("text_folder", [".", "Flickr8k_text"])
def test_either_zip_may_be_unpacked(tmp_path: Path, packed: Path, photo_folder: str, text_folder: str) -> None:
    root = tmp_path / "unpacked"
    write_files(root / photo_folder, photos())
    write_files(root / text_folder, texts())
    unpacked, original = flickr8k(root, "train"), flickr8k(packed, "train")
    assert [(item.id, item.references) for item in unpacked] == [(item.id, item.references) for item in original]
    assert [item.condition.open() for item in unpacked] == [item.condition.open() for item in original]


def test_what_is_missing_is_named(packed: Path) -> None:
    (packed / "Flickr8k_Dataset.zip").rename(packed / "elsewhere")
    with pytest.raises(NotFoundError, match=r"lacks the photos of Flickr8k: Flickr8k_Dataset\.zip") as caught:
        flickr8k(packed, "train")
    assert "condgen data pull flickr8k" in str(caught.value.hint)
    (packed / "elsewhere").rename(packed / "Flickr8k_Dataset.zip")
    (packed / "Flickr8k_text.zip").unlink()
    with pytest.raises(NotFoundError, match=r"lacks the captions of Flickr8k: Flickr8k_text\.zip"):
        flickr8k(packed, "train")
    with pytest.raises(NotFoundError, match="no folder"):
        flickr8k(packed / "none", "train")


def test_a_missing_list_and_missing_photos_are_named(packed: Path) -> None:
    write_zip(packed / "Flickr8k_text.zip", {name: text for name, text in texts().items() if "dev" not in name})
    with pytest.raises(NotFoundError, match=r"Flickr_8k\.devImages\.txt"):
        flickr8k(packed, "dev")
    write_zip(packed / "Flickr8k_Dataset.zip", {name: data for name, data in photos().items() if "2_b" not in name})
    with pytest.raises(NotFoundError, match=r"lacks 1 of the split's 3 photos, such as 2_b\.jpg"):
        flickr8k(packed, "train")


@pytest.mark.parametrize("name", ["Flickr8k_Dataset.zip", "Flickr8k_text.zip"])
def test_a_damaged_zip_is_an_integrity_error(packed: Path, name: str) -> None:
    (packed / name).write_bytes((packed / name).read_bytes()[:-40])
    with pytest.raises(IntegrityError, match=name) as caught:
        flickr8k(packed, "train")
    assert "condgen data pull flickr8k" in str(caught.value.hint)


@pytest.mark.parametrize("line", ["no tab", "1_a.jpg\tno number", "1_a.jpg#0\t ", "#\t"])
def test_a_bad_caption_line_is_named_by_its_number(packed: Path, line: str) -> None:
    write_zip(packed / "Flickr8k_text.zip", {**texts(), "Flickr8k.token.txt": f"1_a.jpg#0\tfine .\n{line}\n".encode()})
    with pytest.raises(IntegrityError, match=r"Flickr8k\.token\.txt:2:"):
        flickr8k(packed, "train")


def test_a_photo_without_captions_is_an_integrity_error(packed: Path) -> None:
    write_zip(packed / "Flickr8k_text.zip", {**texts(), "Flickr8k.token.txt": token_lines(NAMES[1:]).encode()})
    with pytest.raises(IntegrityError, match=r"1_a\.jpg"):
        flickr8k(packed, "train")


@pytest.mark.skipif("CONDGEN_TEST_DATA" not in os.environ, reason="CONDGEN_TEST_DATA names no folder with the real Flickr8k")
def test_the_real_data_set_is_whole() -> None:
    root = Path(os.environ["CONDGEN_TEST_DATA"])
    for split, size in {"train": 6000, "dev": 1000, "test": 1000}.items():
        items = flickr8k(root, split)
        assert len({item.id for item in items}) == size
        assert {len(item.references) for item in items} == {5}
        assert all(load_image(item.condition).width > 1 for item in items[::250])


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder with forty photos, some of them in a folder of their own."""
    names = [*(f"{number}.jpg" for number in range(30)), *(f"summer/{number}.png" for number in range(10))]
    return write_files(tmp_path, {name: photo(9, Path(name).suffix) for name in names})


def album_names(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.*g"))


def write_tsv(root: Path, lines: Iterable[str], encoding: str = "utf-8") -> None:
    (root / "captions.tsv").write_text("\n".join(lines), encoding=encoding)


def ids(root: Path) -> dict[str, list[str]]:
    return {split: [item.id for item in folder(root, split)] for split in SPLIT_NAMES}


def test_tsv_lines_of_one_photo_are_its_captions(album: Path) -> None:
    write_tsv(album, ["0.jpg\ta dog\ttest", "summer/1.png\tthe sea\ttest", "", "0.jpg\tein großer Hund\ttest"])
    first, second = folder(album, "test")
    assert (first.id, first.references) == ("0.jpg", ("a dog", "ein großer Hund"))
    assert (second.id, second.references) == ("summer/1.png", ("the sea",))
    assert load_image(second.condition).size == (8, 6)


@pytest.mark.parametrize(("heading", "encoding"), [("image\tcaption\tsplit", "utf-8"), ("Image\tCaption", "utf-8-sig")])
def test_a_heading_is_no_photo(album: Path, heading: str, encoding: str) -> None:
    write_tsv(album, [heading, "0.jpg\ta dog\tdev"], encoding)
    assert [item.id for item in folder(album, "dev")] == ["0.jpg"]


def test_jsonl_and_tsv_say_the_same(album: Path) -> None:
    names = album_names(album)
    write_tsv(album, [f"{name}\t{text}" for name in names for text in ("one", "two")])
    from_tsv = {split: folder(album, split) for split in SPLIT_NAMES}
    (album / "captions.tsv").unlink()
    lines = [json.dumps({"image": name, "captions": ["one", "two"]}) for name in names]
    (album / "captions.jsonl").write_text("\n".join(lines))
    assert {split: folder(album, split) for split in SPLIT_NAMES} == from_tsv


def test_without_splits_every_photo_is_in_one_and_stays_there(album: Path) -> None:
    names = album_names(album)
    write_tsv(album, [f"{name}\ttext" for name in names])
    whole = ids(album)
    assert sorted(name for split in whole.values() for name in split) == names
    assert len(whole["train"]) > len(whole["dev"]) + len(whole["test"])
    few = whole["train"][:2] + whole["dev"][:1] + whole["test"][:1]
    write_tsv(album, [f"{name}\ttext" for name in few])
    assert ids(album) == {"train": few[:2], "dev": few[2:3], "test": few[3:]}


def test_a_split_without_photos_is_refused(album: Path) -> None:
    write_tsv(album, ["0.jpg\ta dog\ttrain"])
    with pytest.raises(UsageError, match=r"split test \(train 1, dev 0, test 0\)"):
        folder(album, "test")


@pytest.mark.parametrize(
    "line",
    [
        "1.jpg",
        "1.jpg\t",
        "\ta dog",
        "1.jpg\ta dog\ttrain\tmore",
        "1.jpg\ta dog\tvalidation",
        "1.jpg\ta dog",
        "0.jpg\ta dog\tdev",
        "../1.jpg\ta dog\ttrain",
        "/etc/passwd\ta dog\ttrain",
        "summer/../../1.jpg\ta dog\ttrain",
    ],
)
def test_a_bad_tsv_line_is_named_by_its_file_and_number(album: Path, line: str) -> None:
    write_tsv(album, ["0.jpg\ta dog\ttrain", "", line])
    with pytest.raises(InputError, match=r"captions\.tsv:3: "):
        folder(album, "train")


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "3",
        '{"image": "1.jpg"}',
        '{"image": "1.jpg", "captions": []}',
        '{"image": "1.jpg", "captions": "a dog"}',
        '{"image": "1.jpg", "captions": [" "]}',
        '{"image": 1, "captions": ["a dog"]}',
        '{"image": "../1.jpg", "captions": ["a dog"]}',
        '{"image": "1.jpg", "captions": ["a dog"], "split": "validation"}',
        '{"image": "1.jpg", "captions": ["a dog"], "split": ["train"]}',
        '{"image": "1.jpg", "captions": ["a dog"], "split": "dev"}',
    ],
)
def test_a_bad_jsonl_line_is_named_by_its_file_and_number(album: Path, line: str) -> None:
    (album / "captions.jsonl").write_text('{"image": "0.jpg", "captions": ["a dog"]}\n' + line + "\n")
    with pytest.raises(InputError, match=r"captions\.jsonl:2: "):
        folder(album, "train")


def test_bytes_that_are_no_text_are_named_by_their_line(album: Path) -> None:
    (album / "captions.tsv").write_bytes(b"0.jpg\ta dog\n1.jpg\ta \xff dog\n")
    with pytest.raises(InputError, match=r"captions\.tsv:2: not UTF-8"):
        folder(album, "train")


def test_a_photo_that_is_not_there_is_named_by_its_line(album: Path) -> None:
    write_tsv(album, ["0.jpg\ta dog", "none.jpg\ta cat"])
    with pytest.raises(NotFoundError, match=r"captions\.tsv:2: no photo .*none\.jpg"):
        folder(album, "train")


def test_captions_must_be_in_one_file(album: Path) -> None:
    with pytest.raises(NotFoundError, match=r"neither captions\.tsv nor captions\.jsonl"):
        folder(album, "train")
    write_tsv(album, ["0.jpg\ta dog"])
    (album / "captions.jsonl").touch()
    with pytest.raises(UsageError, match="both"):
        folder(album, "train")


@given(texts=st.lists(st.text(), max_size=8))
def test_any_caption_comes_through_jsonl_and_any_tsv_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    root = write_files(tmp_path_factory.mktemp("album"), {"0.jpg": b""})
    record = {"image": "0.jpg", "captions": [*texts, "last"], "split": "train"}
    (root / "captions.jsonl").write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
    if all(text.strip() for text in texts):
        (item,) = folder(root, "train")
        assert item.references == (*(text.strip() for text in texts), "last")
    else:
        with pytest.raises(InputError, match=":1: "):
            folder(root, "train")
    (root / "captions.jsonl").unlink()
    write_tsv(root, [f"0.jpg\t{text}\ttrain" for text in texts])
    try:
        (item,) = folder(root, "train")
    except (InputError, NotFoundError, UsageError):
        return
    assert [text.strip() for text in texts if text.strip()] == list(item.references)
