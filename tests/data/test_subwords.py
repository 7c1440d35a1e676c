"""Vocabularies of subwords."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.errors import IntegrityError, NotFoundError, UsageError

ENGLISH = [
    "The dog runs.",
    "The dog's friends are running (again)!",
    "A friendly dog, 12 runners and 27 cats.",
    "Friends are running in 2021; the cat's running too!",
    "the café (café) – “again”, A",
    "a 😀 and a 😀",
]
CHINESE = [
    "我们喜欢音乐。",
    "他们喜欢我们。",
    "音乐很有趣，我们也很有趣！",
    "Tom喜欢音乐。",
    "Tom 很有趣，",
    "机器学习很有趣。",
    "学习音乐机器",
]
TEXTS = {"english": ENGLISH * 2, "chinese": CHINESE, "both": [*ENGLISH, *CHINESE, *ENGLISH]}

names = pytest.mark.parametrize("name", TEXTS)
known_characters = st.sampled_from(sorted({*"".join(ENGLISH + CHINESE), "\u0301", "ß", "犬", "☃", "👩\u200d🚀"}))
any_characters = st.characters(exclude_categories=("Cs", "Cc", "Cn"))
texts = st.lists(
    known_characters | st.sampled_from([" ", "  ", "running", "音乐", "<eos>", "▁"]) | any_characters, max_size=40
).map("".join)


@cache
def vocabulary(name: str = "english") -> SubwordVocabulary:
    return SubwordVocabulary.train(TEXTS[name], 120)


def normal(text: str) -> str:
    return re.sub(r"[\s▁]+", " ", unicodedata.normalize("NFC", text)).strip(" ")


def unknown(found: SubwordVocabulary, text: str) -> list[str]:
    return [piece.text for piece in found.pieces(text) if piece.id == found.unk]


def shown(text: str, name: str = "english") -> list[str]:
    return [piece.text for piece in vocabulary(name).pieces(text)]


@names
def test_ids_are_specials_then_pieces(name: str) -> None:
    found = vocabulary(name)
    assert (found.pad, found.bos, found.eos, found.unk) == (0, 1, 2, 3)
    tokens = [found.token(index) for index in range(len(found))]
    assert tokens[:4] == ["<pad>", "<bos>", "<eos>", "<unk>"]
    assert len(set(tokens)) == len(tokens) == len(found)
    assert len(found) <= 120


def test_frequent_words_are_pieces_and_the_mark_begins_a_word() -> None:
    assert shown("the dog running") == ["▁the", "▁dog", "▁running"]
    assert "▁" not in "".join(shown("我们喜欢音乐", "chinese"))
    assert "我们" in shown("我们喜欢音乐", "chinese")
    assert "".join(shown("我们 喜欢", "chinese")) == "我们▁喜欢"


def test_punctuation_and_digits_stand_alone() -> None:
    assert shown("The dog.") == ["▁The", "▁dog", "."]
    assert shown("2021!") == ["▁", "2", "0", "2", "1", "!"]
    for name in TEXTS:
        found = vocabulary(name)
        for token in map(found.token, range(4, len(found))):
            assert len(token) == 1 or not re.search(r"[\d.,!()'–“”。，！]", token)


@names
@settings(max_examples=40)
@given(text=texts)
def test_decode_restores_the_text(name: str, text: str) -> None:
    found = vocabulary(name)
    assert found.decode(found.encode(text), unknown(found, text)) == normal(text)


@names
@settings(max_examples=40)
@given(text=texts)
def test_pieces_are_those_of_encode_and_show_the_whole_text(name: str, text: str) -> None:
    found = vocabulary(name)
    pieces = found.pieces(text)
    assert [piece.id for piece in pieces] == found.encode(text)
    assert all(piece.text == found.token(piece.id) for piece in pieces if piece.id != found.unk)
    assert all(len(piece.text) == 1 for piece in pieces if piece.id == found.unk)
    assert "".join(piece.text for piece in pieces).replace("▁", " ").strip(" ") == normal(text)
    assert all(piece.id >= found.unk for piece in pieces)


@names
@pytest.mark.parametrize("text", ["", " ", "\t\n \u3000\u00a0", "▁"])
def test_blanks_have_no_pieces(name: str, text: str) -> None:
    found = vocabulary(name)
    assert found.encode(text) == found.pieces(text) == []
    assert found.decode([]) == ""


@names
@pytest.mark.parametrize("unit", ["running dog ", "音乐我们", "机器学习 runs, ", "😀e\u0301"])
def test_long_texts(name: str, unit: str) -> None:
    found, text = vocabulary(name), (unit * 10_000)[:10_000]
    ids = found.encode(text)
    assert found.decode(ids, unknown(found, text)) == normal(text)


@names
def test_a_special_written_in_a_text_is_ordinary_characters(name: str) -> None:
    found = vocabulary(name)
    for special in ("<pad>", "<bos>", "<eos>", "<unk>"):
        assert len(found.encode(f"a {special}")) >= 5
        assert found.decode(found.encode(special), unknown(found, special)) == special
    trained = SubwordVocabulary.train(["<eos> <eos><pad>"] * 5, 100)
    assert [trained.token(index) for index in trained.encode("<eos>")] == ["▁", "<", "eos", ">"]
    assert [trained.token(index) for index in range(4)] == ["<pad>", "<bos>", "<eos>", "<unk>"]


def test_unknown_characters_are_never_dropped() -> None:
    found = vocabulary()
    ids = found.encode("the ☃ ☂dog")
    assert ids.count(found.unk) == 2
    assert found.decode(ids) == "the ⁇ ⁇dog"
    assert found.decode(ids, ["☃"]) == "the ☃ ⁇dog"
    assert found.decode(ids, ["▁Tom", "☂", "left over"]) == "the Tom ☂dog"


def test_decode_leaves_specials_out() -> None:
    found = vocabulary()
    ids = found.encode("The dog runs.")
    assert found.decode([found.bos, *ids, found.eos, found.pad]) == "The dog runs."


def test_text_is_in_nfc_but_full_width_forms_stay() -> None:
    found = vocabulary()
    assert found.encode("cafe\u0301") == found.encode("café")
    chinese = vocabulary("chinese")
    assert chinese.decode(chinese.encode("我们，")) == "我们，"
    assert shown("ＡA", "chinese")[0] == "Ａ"


def test_half_a_surrogate_pair_is_an_unknown_character() -> None:
    found = vocabulary()
    assert found.pieces("dog\udcff runs") == found.pieces("dog\ufffd runs")
    assert found.encode("\ud83d") == found.encode("\ufffd")


def test_characters_seen_twice_are_known_even_beyond_the_size() -> None:
    found = SubwordVocabulary.train(["αβγ δεζ", "αβγ δεx"], 6)
    assert {found.token(index) for index in range(4, len(found))} == set("▁αβγδε")
    assert found.encode("ζx").count(found.unk) == 2


def longest_piece(texts: list[str]) -> int:
    found = SubwordVocabulary.train(texts, 200)
    return max(len(token) for token in found.tokens[4:])


def test_pieces_are_at_most_sixteen_characters() -> None:
    assert 8 <= longest_piece(["ab" * 32 + " ab"] * 5) <= 16


def test_without_spaces_pieces_are_at_most_two_characters() -> None:
    assert longest_piece(["我喜欢音乐", "他喜欢音乐会"] * 5) == 2


def test_the_same_texts_give_the_same_file_and_torch_is_not_imported(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from condgen_cli.data.subwords import SubwordVocabulary
SubwordVocabulary.train({TEXTS["both"]!r}, 120).save(Path("other.json"))
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, timeout=120)
    vocabulary("both").save(tmp_path / "this.json")
    SubwordVocabulary.train(iter(TEXTS["both"]), 120).save(tmp_path / "again.json")
    assert len({(tmp_path / f"{name}.json").read_bytes() for name in ("this", "again", "other")}) == 1


@names
def test_what_is_saved_is_loaded_again(tmp_path: Path, name: str) -> None:
    saved, path = vocabulary(name), tmp_path / "vocabulary.json"
    path.write_text("an older one")
    saved.save(path)
    loaded = SubwordVocabulary.load(path)
    assert [child.name for child in tmp_path.iterdir()] == [path.name]
    content = path.read_bytes()
    loaded.save(path)
    assert path.read_bytes() == content
    text = " ".join(TEXTS["both"]) + " <eos> ☃"
    assert loaded.pieces(text) == saved.pieces(text)


def changed(*path: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = to

    return change


def without_eos(document: dict[str, Any]) -> None:
    document["model"]["vocab"]["<end>"] = document["model"]["vocab"].pop("<eos>")


def with_a_gap(document: dict[str, Any]) -> None:
    document["model"]["vocab"]["far"] = 1000


def with_an_id_twice(document: dict[str, Any]) -> None:
    document["model"]["vocab"]["twice"] = 5


def with_a_merge_of_no_token(document: dict[str, Any]) -> None:
    ids = document["model"]["vocab"]
    last = max(ids, key=ids.__getitem__)
    del ids[last]


def with_merged_specials(document: dict[str, Any]) -> None:
    ids = document["model"]["vocab"]
    ids["<unk>a"] = len(ids)
    document["model"]["merges"].append(["<unk>", "a"])


@pytest.mark.parametrize(
    "change",
    [
        without_eos,
        with_a_gap,
        with_an_id_twice,
        with_a_merge_of_no_token,
        with_merged_specials,
        changed("model", to=None),
        changed("model", "type", to="WordPiece"),
        changed("model", "vocab", to=["a"]),
        changed("model", "vocab", "a", to=True),
        changed("model", "vocab", "a", to=-1),
        changed("model", "merges", to=[["never", "seen"]]),
        changed("model", "merges", to="abc"),
        changed("model", "dropout", to=0.5),
        changed("model", "unk_token", to=None),
        changed("model", "fuse_unk", to=True),
        changed("normalizer", to={"type": "NFKC"}),
        changed("pre_tokenizer", to=None),
        changed("pre_tokenizer", "pretokenizers", to=[]),
        changed("decoder", "prepend_scheme", to="never"),
        changed("truncation", to={"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}),
        changed(
            "added_tokens",
            to=[
                {"id": 2, "content": "<eos>", "single_word": False, "lstrip": False}
                | {"rstrip": False, "normalized": False, "special": True}
            ],
        ),
    ],
)
def test_a_file_that_is_no_such_vocabulary_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = tmp_path / "vocabulary.json"
    vocabulary().save(path)
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"vocabulary\.json"):
        SubwordVocabulary.load(path)


@settings(max_examples=40)
@given(
    content=st.binary()
    | st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.just("model"), inner)).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_no_content_whatever_gets_past_load(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("vocabulary") / "vocabulary.json"
    path.write_bytes(content)
    with pytest.raises(IntegrityError):
        SubwordVocabulary.load(path)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        SubwordVocabulary.load(tmp_path / "none.json")


def test_a_vocabulary_of_too_few_tokens_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        SubwordVocabulary.train(ENGLISH, 4)
