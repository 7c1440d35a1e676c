"""Readers of sentence pairs."""

from __future__ import annotations

import gzip
import lzma
import os
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condgen_cli.data.splits import SPLITS
from condgen_cli.errors import InputError, IntegrityError, NotFoundError, UsageError
from condgen_cli.item import Item
from condgen_translate.data import multi30k, parallel, sentence_length, tatoeba_cmn, zh_en

NAMES = {"train": "train", "dev": "val", "test": "test_2016_flickr"}
SIZES = {"train": 5, "dev": 2, "test": 3}

BLANK_LINES = st.sampled_from(["", " ", "\t", "\u3000"])
SENTENCES = st.text(st.characters(exclude_characters="\n\t\r\ufeff", exclude_categories=["Cs"])).filter(str.strip)


def write(path: Path, lines: Iterable[str]) -> Path:
    """Lines of a file, packed if its name says so."""
    content = "".join(f"{line}\n" for line in lines).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes({".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, bytes)(content))
    return path


def read(items: Iterable[Item]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(item.id, item.condition, item.references) for item in items]


def photos(language: str, split: str) -> list[str]:
    return [f"{language} {split} {number} ." for number in range(SIZES[split])]


def write_multi30k(folder: Path, suffix: str = ".gz") -> None:
    for split, name in NAMES.items():
        for language in ("de", "en", "fr"):
            write(folder / f"{name}.{language}{suffix}", photos(language, split))


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("place", [".", "multi30k", "data/task1/raw", "multi30k/data/task1/raw"])
def test_multi30k_is_read_as_published(tmp_path: Path, place: str, suffix: str) -> None:
    write_multi30k(tmp_path / place, suffix)
    for split, size in SIZES.items():
        items = multi30k(tmp_path, split)
        assert read(items) == [
            (f"{split}/{n}", german, (english,))
            for n, (german, english) in enumerate(zip(photos("de", split), photos("en", split), strict=True), 1)
        ]
        assert len(items) == size
        assert [item.source for item in items] == photos("de", split)


def test_multi30k_is_read_from_any_language_to_any(tmp_path: Path) -> None:
    write_multi30k(tmp_path)
    first, *_ = multi30k(tmp_path, "dev", source="en", target="fr")
    assert (first.condition, first.references) == ("en dev 0 .", ("fr dev 0 .",))
    with pytest.raises(UsageError, match="both en"):
        multi30k(tmp_path, "dev", source="en")


def test_a_file_of_multi30k_that_is_missing_is_named(tmp_path: Path) -> None:
    write_multi30k(tmp_path)
    (tmp_path / "val.de.gz").unlink()
    with pytest.raises(NotFoundError, match=r"lacks val\.de or val\.en") as caught:
        multi30k(tmp_path, "dev")
    assert "condgen data pull multi30k" in str(caught.value.hint)
    assert len(multi30k(tmp_path, "dev", source="fr")) == 2


def test_a_damaged_file_is_an_integrity_error(tmp_path: Path) -> None:
    write_multi30k(tmp_path)
    path = tmp_path / "train.en.gz"
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(IntegrityError, match=r"train\.en\.gz is damaged"):
        multi30k(tmp_path, "train")
    path.write_bytes(b"no gzip")
    with pytest.raises(IntegrityError, match=r"train\.en\.gz is damaged"):
        multi30k(tmp_path, "train")


CREDIT = "CC-BY 2.0 (France) Attribution: tatoeba.org #1 (A) & #2 (B)"


def tatoeba_lines(count: int, prefix: str = "") -> list[str]:
    return [f"{prefix}Sentence {n}.\t{prefix}第{n}句。\t{CREDIT}" for n in range(count)]


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("place", [".", "tatoeba-cmn"])
def test_tatoeba_with_splits(tmp_path: Path, place: str, suffix: str) -> None:
    for split, size in SIZES.items():
        write(tmp_path / place / f"{split}.tsv{suffix}", tatoeba_lines(size, split))
    for split, size in SIZES.items():
        pairs = [(f"{split}第{n}句。", f"{split}Sentence {n}.") for n in range(size)]
        assert read(tatoeba_cmn(tmp_path, split)) == [(f"{split}/{n}", zh, (en,)) for n, (zh, en) in enumerate(pairs, 1)]
        backwards = tatoeba_cmn(tmp_path, split, source="en")
        assert [(item.references[0], item.condition) for item in backwards] == pairs


def write_whole(root: Path, layout: str, lines: Sequence[str]) -> None:
    if layout.endswith(".zip"):
        with zipfile.ZipFile(root / layout, "w") as archive:
            archive.writestr("_about.txt", "about")
            archive.writestr("cmn.txt", "".join(f"{line}\n" for line in lines))
    else:
        write(root / layout, lines)


def texts(root: Path) -> dict[str, list[tuple[str, str]]]:
    """English and Chinese by split."""
    return {split: [(item.references[0], item.condition) for item in tatoeba_cmn(root, split)] for split in SPLITS}


@pytest.mark.parametrize("layout", ["cmn.txt", "cmn-eng.zip", "cmn-eng/cmn.txt"])
def test_tatoeba_without_splits_is_split_once_and_for_all(tmp_path: Path, layout: str) -> None:
    write_whole(tmp_path, layout, tatoeba_lines(600))
    before = texts(tmp_path)
    assert sorted(pair for pairs in before.values() for pair in pairs) == sorted(
        (f"Sentence {n}.", f"第{n}句。") for n in range(600)
    )
    assert all(5 <= len(before[split]) <= 45 for split in ("dev", "test"))
    write_whole(tmp_path, layout, [*tatoeba_lines(30, "New "), *reversed(tatoeba_lines(600))])
    after = texts(tmp_path)
    assert all(set(before[split]) <= set(after[split]) for split in SPLITS)


def test_no_sentence_of_dev_or_test_stands_in_train(tmp_path: Path) -> None:
    # each English sentence with two Chinese ones and the other way round
    lines = [f"Sentence {n}.\t第{m}句。\t{CREDIT}" for n in range(900) for m in (n, (n + 450) % 900)]
    write(tmp_path / "cmn.txt", lines)
    found = texts(tmp_path)
    for side in (0, 1):
        sides = [{pair[side] for pair in found[split]} for split in SPLITS]
        assert all(sides)
        assert not sides[0] & sides[1]
        assert not sides[0] & sides[2]
        assert not sides[1] & sides[2]


def test_the_files_with_splits_are_taken_before_the_whole(tmp_path: Path) -> None:
    write(tmp_path / "cmn.txt", tatoeba_lines(100))
    write(tmp_path / "test.tsv.gz", tatoeba_lines(2))
    assert len(tatoeba_cmn(tmp_path, "test")) == 2
    with pytest.raises(NotFoundError, match=r"lacks train\.tsv"):
        tatoeba_cmn(tmp_path, "train")


def test_no_tatoeba_at_all(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="holds no Chinese-English pairs"):
        tatoeba_cmn(tmp_path, "test")
    with zipfile.ZipFile(tmp_path / "cmn-eng.zip", "w") as archive:
        archive.writestr("fra.txt", "Hi.\tSalut !\n")
    with pytest.raises(NotFoundError, match=r"holds no cmn\.txt"):
        tatoeba_cmn(tmp_path, "test")
    (tmp_path / "cmn-eng.zip").write_bytes(b"PK\3\4 but no zip")
    with pytest.raises(IntegrityError, match=r"cmn-eng\.zip"):
        tatoeba_cmn(tmp_path, "test")


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
@pytest.mark.parametrize("place", [".", "zh-en"])
def test_one_of_several_chinese_english_files(tmp_path: Path, place: str, suffix: str) -> None:
    for name in ("3am", "alma-wmt", "v1.2"):
        for split, size in SIZES.items():
            write(tmp_path / place / f"{name}.{split}.tsv{suffix}", tatoeba_lines(size, f"{name} {split} "))
    for split, size in SIZES.items():
        for name in ("3am", "alma-wmt", "v1.2"):
            pairs = [(f"{name} {split} 第{n}句。", f"{name} {split} Sentence {n}.") for n in range(size)]
            items = [(f"{split}/{n}", zh, (en,)) for n, (zh, en) in enumerate(pairs, 1)]
            assert read(zh_en(tmp_path, split, name=name)) == items
            backwards = zh_en(tmp_path, split, name=name, source="en")
            assert [(item.references[0], item.condition) for item in backwards] == pairs


def test_a_chinese_english_file_that_is_missing_or_not_named(tmp_path: Path) -> None:
    write(tmp_path / "lctt.train.tsv.xz", tatoeba_lines(2))
    with pytest.raises(NotFoundError, match=r"lacks lctt\.dev\.tsv"):
        zh_en(tmp_path, "dev", name="lctt")
    with pytest.raises(UsageError, match="needs name"):
        zh_en(tmp_path, "train")
    for name in ("../lctt", "lctt/..", "/etc/x", ".lctt"):
        with pytest.raises(UsageError, match="no file named"):
            zh_en(tmp_path / "other", "train", name=name)


def test_a_damaged_xz_file_is_an_integrity_error(tmp_path: Path) -> None:
    path = write(tmp_path / "lctt.train.tsv.xz", tatoeba_lines(100))
    for content in (path.read_bytes()[:-20], b"no xz"):
        path.write_bytes(content)
        with pytest.raises(IntegrityError, match=r"lctt\.train\.tsv\.xz is damaged"):
            zh_en(tmp_path, "train", name="lctt")


@given(
    pairs=st.lists(st.tuples(SENTENCES, SENTENCES) | st.tuples(BLANK_LINES, BLANK_LINES)), end=st.sampled_from(["\n", "\r\n"])
)
def test_any_pairs_come_back_from_any_layout(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]], end: str
) -> None:
    root = tmp_path_factory.mktemp("pairs")
    (root / "a.xx").write_bytes("".join(f"{left}{end}" for left, _ in pairs).encode())
    (root / "a.yy.gz").write_bytes(gzip.compress("".join(f"{right}{end}" for _, right in pairs).encode()))
    rows = (f"{right}\tnote\t{left}{end}" if left.strip() else end for left, right in pairs)
    (root / "a.tsv").write_bytes("".join(rows).encode("utf-8-sig"))
    kept = [(f"test/{n}", left.strip(), (right.strip(),)) for n, (left, right) in enumerate(pairs, 1) if left.strip()]
    assert read(parallel(root, "test", source="a.xx", target="a.yy")) == kept
    assert read(parallel(root, "test", tsv="a.tsv", columns="3,1")) == kept


def test_the_split_is_written_into_the_names(tmp_path: Path) -> None:
    for split in SPLITS:
        write(tmp_path / split / f"{split}.de", [f"{split} deutsch"])
        write(tmp_path / split / f"{split}.en", [f"{split} english"])
    names = {"source": "{split}/{split}.de", "target": "{split}/{split}.en"}
    for split in SPLITS:
        assert read(parallel(tmp_path, split, **names)) == [(f"{split}/1", f"{split} deutsch", (f"{split} english",))]


def test_files_for_all_splits_are_the_test_split_alone(tmp_path: Path) -> None:
    write(tmp_path / "pairs.tsv", ["ein Hund\ta dog"])
    assert read(parallel(tmp_path, "test", tsv="pairs.tsv")) == [("test/1", "ein Hund", ("a dog",))]
    for split in ("train", "dev"):
        with pytest.raises(UsageError, match=rf"pairs\.tsv is of the split test alone, not of {split}"):
            parallel(tmp_path, split, tsv="pairs.tsv")


def test_pairs_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "pairs.tsv", ["ein Hund\ta dog", "no column"])
    items = parallel(tmp_path, "test", tsv="pairs.tsv")
    assert next(items).condition == "ein Hund"
    with pytest.raises(InputError, match=r"pairs\.tsv:2: no column 2"):
        next(items)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (b"a\nb\n", b"x\n", r"a\.de:2: .*a\.en has no such line"),
        (b"a\n", b"x\ny\nz\n", r"a\.en:2: .*a\.de has no such line"),
        (b"a\n\nc\n", b"x\ny\nz\n", r"a\.de:2: empty, but .*a\.en:2 is not"),
        (b"a\nb\n", b"x\n \n", r"a\.en:2: empty, but .*a\.de:2 is not"),
        (b"a\nb\nc\n", b"x\ny\nz\xff\n", r"a\.en:3: not UTF-8"),
        ("a\n".encode("utf-16"), b"x\n", r"a\.de:1: not UTF-8"),
    ],
)
def test_what_is_wrong_with_two_files_is_told_with_its_line(tmp_path: Path, source: bytes, target: bytes, message: str) -> None:
    (tmp_path / "a.de").write_bytes(source)
    (tmp_path / "a.en").write_bytes(target)
    with pytest.raises(InputError, match=message):
        list(parallel(tmp_path, "test", source="a.de", target="a.en"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"a", ":3: no column 2: only 1"),
        (b"a\t", ":3: column 2 is empty, but column 1 is not"),
        (b" \tx", ":3: column 1 is empty, but column 2 is not"),
        (b"a\t\xe4\xbd", ":3: not UTF-8"),
    ],
)
def test_what_is_wrong_with_columns_is_told_with_its_line(tmp_path: Path, line: bytes, message: str) -> None:
    (tmp_path / "a.tsv").write_bytes(b"a\tx\n\n" + line + b"\nb\ty\n")
    with pytest.raises(InputError, match=rf"a\.tsv{message}"):
        list(parallel(tmp_path, "test", tsv="a.tsv"))


@pytest.mark.parametrize(
    "options",
    [{}, {"source": "a.de"}, {"target": "a.en"}, {"source": "a.de", "tsv": "a.tsv"}]
    + [{"tsv": "a.tsv", "columns": columns} for columns in ("", "1", "1,1", "0,1", "a,b", "1,2,3", "²,1")],
)
def test_options_that_name_no_pairs_are_refused(tmp_path: Path, options: dict[str, str]) -> None:
    for name in ("a.de", "a.en", "a.tsv"):
        write(tmp_path / name, ["a\tb"])
    with pytest.raises(UsageError):
        parallel(tmp_path, "test", **options)


def test_a_file_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    write(tmp_path / "train.de", ["a"])
    with pytest.raises(NotFoundError, match=r"no file .*train\.en"):
        parallel(tmp_path, "train", source="{split}.de", target="{split}.en")


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("Two young, white males.", 4),
        ("  a\u00a0b\tc ", 3),
        ("机器学习很有趣。", 8),
        ("我从1988年起用Python。", 8),
        ("すごい！", 4),
        ("", 0),
    ],
)
def test_sentences_are_as_long_as_their_words_or_characters(text: str, length: int) -> None:
    assert sentence_length(text) == length


def test_groups_are_lengths_of_the_source(tmp_path: Path) -> None:
    lengths = (1, 5, 6, 10, 11, 26, 30, 31, 200)
    write(tmp_path / "a.tsv", [f"{'word ' * length}\tx" for length in lengths])
    items = parallel(tmp_path, "test", tsv="a.tsv", group="length")
    assert [item.group for item in items] == ["1-5", "1-5", "6-10", "6-10", "11-15", "26-30", "26-30", "31+", "31+"]
    assert {item.group for item in parallel(tmp_path, "test", tsv="a.tsv")} == {""}


def real(name: str) -> Path:
    """The folder with the real data of that name."""
    root = Path(os.environ.get("CONDGEN_TEST_DATA", ""))
    found = [folder for folder in (root / name, root.parent / name) if folder.is_dir()]
    if "CONDGEN_TEST_DATA" not in os.environ or not found:
        pytest.skip(f"CONDGEN_TEST_DATA names no folder with the real {name}")
    return found[0]


@pytest.mark.parametrize(
    ("name", "reader", "sizes"),
    [("multi30k", multi30k, (29_000, 1_014, 1_000)), ("tatoeba-cmn", tatoeba_cmn, (29_776, 1_000, 1_000))],
)
def test_the_real_data_sets_are_whole(name: str, reader: Callable[..., Sequence[Item]], sizes: tuple[int, ...]) -> None:
    root = real(name)
    for split, size in zip(SPLITS, sizes, strict=True):
        items = reader(root, split)
        assert len({item.id for item in items}) == len(items) == size
        assert all(item.condition.strip() and item.references[0].strip() for item in items)
