"""Texts in segments and poems by split, read as users and publishers have them."""

from __future__ import annotations

import json
import lzma
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condgen_cli.data.splits import SPLITS
from condgen_cli.errors import InputError, IntegrityError, NotFoundError
from condgen_generate.text_data import (
    CONTEXT,
    chinese_poetry,
    segments,
    split_poems,
    text_file,
    tinyshakespeare,
)
from condgen_generate.verse import lines_of, normalise
from condgen_generate.vocabulary import CharacterVocabulary

LINES = ["床前明月光", "疑是地上霜", "舉頭望明月", "低頭思故鄉", "白日依山盡", "黃河入海流", "欲窮千里目", "更上一層樓"]


@given(st.text(st.sampled_from("ab\nc"), max_size=6000))
def test_segments_of_the_splits_are_the_text_in_order_each_after_what_stands_before_it(text: str) -> None:
    parts = {split: list(segments(text, split)) for split in SPLITS}
    whole = "".join(item.references[0] for split in SPLITS for item in parts[split])
    assert whole == text
    sizes = [sum(len(item.references[0]) for item in parts[split]) for split in SPLITS]
    assert sizes == [len(text) * 8 // 10, len(text) * 9 // 10 - len(text) * 8 // 10, len(text) - len(text) * 9 // 10]
    read = ""
    for split in SPLITS:
        for item in parts[split]:
            assert item.condition.text == read[-CONTEXT:]
            read += item.references[0]


@given(st.lists(st.lists(st.sampled_from(LINES), min_size=4, max_size=4), max_size=40))
def test_no_two_poems_of_different_splits_share_a_line(rows: list[list[str]]) -> None:
    poems = [poem for row in rows if (poem := normalise("。".join(row)))]
    splits = split_poems(poems)
    found = [poem for split in SPLITS for poem in splits[split]]
    assert sorted(found) == sorted(set(poems))
    lines = [{line for poem in splits[split] for line in lines_of(poem)} for split in SPLITS]
    assert sum(map(len, lines)) == len(set.union(*lines))
    assert split_poems(poems[::-1]) == splits


def test_splits_of_unlike_poems_have_about_the_shares_that_are_promised() -> None:
    rows = [[chr(0x4E00 + 4 * number + line) * 5 for line in range(4)] for number in range(2000)]
    splits = split_poems([poem for row in rows if (poem := normalise("。".join(row)))])
    shares = [len(splits[split]) / 2000 for split in SPLITS]
    assert shares == pytest.approx([0.85, 0.05, 0.10], abs=0.03)


@given(st.lists(st.one_of(st.none(), st.lists(st.text(max_size=12), max_size=4)), max_size=6))
def test_whatever_stands_in_a_line_a_poem_is_read_or_the_line_is_named(documents: list[list[str] | None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tang_poems.jsonl"
        path.write_text("".join(json.dumps({"paragraphs": one}) + "\n" for one in documents), encoding="utf-8")
        if None in documents:
            with pytest.raises(InputError, match=f":{documents.index(None) + 1}: not a poem"):
                list(chinese_poetry(Path(folder), "train"))
            return
        items = [item for split in SPLITS for item in chinese_poetry(Path(folder), split)]
        assert len(items) == len({normal for one in documents if (normal := normalise("".join(one or [])))})


def test_poems_are_read_from_one_file_and_from_the_publisher_s_many(tmp_path: Path) -> None:
    poems = [{"paragraphs": [f"{a}，{b}。", f"{c}，{d}。"], "title": "x"} for a, b, c, d in (LINES[:4], LINES[4:])]
    broken = {"paragraphs": ["□日依山盡，黃河入海流。"]}
    (tmp_path / "one").mkdir()
    text = "\n".join(json.dumps(poem, ensure_ascii=False) for poem in (*poems, broken))
    (tmp_path / "one" / "tang_poems.jsonl.xz").write_bytes(lzma.compress(text.encode()))
    (tmp_path / "many" / "全唐诗").mkdir(parents=True)
    (tmp_path / "many" / "全唐诗" / "poet.tang.0.json").write_text(json.dumps(poems[:1]))
    (tmp_path / "many" / "全唐诗" / "poet.tang.1000.json").write_text(json.dumps([broken, poems[1]]))
    read = {
        name: {split: [item.references[0] for item in chinese_poetry(tmp_path / name, split)] for split in SPLITS}
        for name in ("one", "many")
    }
    assert read["one"] == read["many"]
    assert sorted(poem for split in SPLITS for poem in read["one"][split]) == [
        "床前明月光，疑是地上霜。舉頭望明月，低頭思故鄉。",
        "白日依山盡，黃河入海流。欲窮千里目，更上一層樓。",
    ]


def test_a_text_of_one_s_own_may_be_several_files(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("b" * 40)
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + b"a\r\n" * 20)
    items = [item for split in SPLITS for item in text_file(tmp_path, split, "*.txt")]
    assert "".join(item.references[0] for item in items) == "a\n" * 20 + "b" * 40


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"holds no input\.txt"):
        tinyshakespeare(tmp_path, "test")
    (tmp_path / "input.txt").write_bytes("Zoë".encode("latin-1"))
    with pytest.raises(InputError, match=r"not UTF-8 \(byte 3\)"):
        tinyshakespeare(tmp_path, "test")
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(InputError, match="the text is empty"):
        text_file(tmp_path, "train", "empty.txt")
    with pytest.raises(NotFoundError):
        text_file(tmp_path, "train", "*.md")
    (tmp_path / "input.txt.xz").write_bytes(b"no xz")
    (tmp_path / "input.txt").unlink()
    with pytest.raises(IntegrityError, match="is damaged"):
        tinyshakespeare(tmp_path, "test")


@given(st.text(), st.text())
def test_a_vocabulary_decodes_what_it_encodes(text: str, other: str) -> None:
    vocabulary = CharacterVocabulary.build([text], ["5x4"])
    ids = vocabulary.encode(text)
    assert vocabulary.decode([vocabulary.bos, vocabulary.control("5x4"), *ids, vocabulary.eos]) == text
    assert all(index < len(vocabulary) and vocabulary.token(index) in text for index in ids)
    assert vocabulary.unknown(other) == [character for character in dict.fromkeys(other) if character not in text]


def test_a_vocabulary_is_saved_whole(tmp_path: Path) -> None:
    vocabulary = CharacterVocabulary.build(["hello\n\u2028 月"], ["7x4"], min_count=1)
    vocabulary.save(tmp_path / "v.json")
    again = CharacterVocabulary.load(tmp_path / "v.json")
    assert (again.controls, again.characters) == (vocabulary.controls, vocabulary.characters)
    assert CharacterVocabulary.build(["aab"], min_count=2).characters == ("a",)


PUBLISHED = Path(os.environ.get("CONDGEN_TEST_DATA", "nowhere")).parent
"""What lies beside the folder that the variable names."""


@pytest.mark.skipif(not (PUBLISHED / "chinese_poetry").is_dir(), reason="no folder chinese_poetry beside CONDGEN_TEST_DATA")
def test_published_data() -> None:

    counts = [len(list(chinese_poetry(PUBLISHED / "chinese_poetry", split))) for split in SPLITS]
    assert counts == [31042, 1804, 3641]
    text = "".join(item.references[0] for split in SPLITS for item in tinyshakespeare(PUBLISHED / "tinyshakespeare", split))
    assert len(text) == 1_115_394
