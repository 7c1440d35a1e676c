"""Vocabularies of words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condgen_cli.data.text import WordVocabulary
from condgen_cli.errors import CondgenError, IntegrityError, NotFoundError, UsageError

TEXTS = ["a dog runs", "A dog sleeps.", "the cat and a dog", "zebra"]

words = st.lists(st.text(min_size=1).filter(lambda word: word.split() == [word] and not word.startswith("<")), unique=True)


def vocabulary() -> WordVocabulary:
    return WordVocabulary.build(TEXTS)


def document(**changes: Any) -> dict[str, Any]:
    tokens = ["<pad>", "<bos>", "<eos>", "<unk>", "a", "dog"]
    return {"type": "words", "tokenizer": "whitespace", "tokens": tokens, **changes}


def test_ids_are_specials_then_words_by_frequency_then_alphabet() -> None:
    found = vocabulary()
    assert (found.pad, found.bos, found.eos, found.unk) == (0, 1, 2, 3)
    assert [found.token(index) for index in range(len(found))] == [
        *("<pad>", "<bos>", "<eos>", "<unk>"),
        *("a", "dog", "and", "cat", "runs", "sleeps", "the", "zebra"),
    ]


def test_order_of_texts_does_not_matter() -> None:
    assert WordVocabulary.build(reversed(TEXTS)).tokens == vocabulary().tokens


def test_rare_words_become_unk() -> None:
    found = WordVocabulary.build(TEXTS, min_count=2)
    assert len(found) == 6
    assert found.encode("a zebra") == [found.encode("a")[0], found.unk]


def test_encode_gives_no_specials_and_decode_leaves_them_out() -> None:
    found = vocabulary()
    ids = found.encode("The dog sleeps!")
    assert min(ids) > found.unk
    assert found.decode([found.bos, *ids, found.eos, found.pad, found.pad]) == "the dog sleeps"
    assert found.decode([]) == ""


def test_a_special_written_in_a_text_is_an_unknown_word() -> None:
    found = WordVocabulary.build(["a <eos> <pad> b"], tokenizer="whitespace")
    assert found.encode("a <eos> <pad>") == [found.encode("a")[0], found.unk, found.unk]


@given(words)
def test_what_is_encoded_is_decoded_again(known: list[str]) -> None:
    found = WordVocabulary(known, "whitespace")
    text = " ".join(known)
    assert found.decode(found.encode(text)) == text
    assert len(set(found.encode(text))) == len(known) == len(found) - 4


@given(words)
def test_what_is_saved_is_loaded_again(tmp_path_factory: pytest.TempPathFactory, known: list[str]) -> None:
    path = tmp_path_factory.mktemp("vocabulary") / "vocabulary.json"
    saved = WordVocabulary(known, "whitespace")
    saved.save(path)
    loaded = WordVocabulary.load(path)
    assert (loaded.tokens, loaded.tokenizer) == (saved.tokens, saved.tokenizer)
    assert [child.name for child in path.parent.iterdir()] == [path.name]


def test_the_tokenizer_is_part_of_the_file(tmp_path: Path) -> None:
    vocabulary().save(tmp_path / "caption.json")
    WordVocabulary.build(TEXTS, tokenizer="whitespace").save(tmp_path / "whitespace.json")
    assert WordVocabulary.load(tmp_path / "caption.json").encode("Dog!") == vocabulary().encode("dog")
    loaded = WordVocabulary.load(tmp_path / "whitespace.json")
    assert loaded.encode("Dog!") == [loaded.unk]


@pytest.mark.parametrize(
    "broken",
    [
        [],
        document(type="subwords"),
        document(tokenizer="martian"),
        document(tokenizer=["caption"]),
        document(tokens="abc"),
        document(tokens=["a", "dog"]),
        document(tokens=[*document()["tokens"], "dog"]),
        document(tokens=[*document()["tokens"], "<eos>"]),
        document(tokens=[*document()["tokens"], "two words"]),
        document(tokens=[*document()["tokens"], ""]),
        document(tokens=[*document()["tokens"], 7]),
    ],
)
def test_a_file_that_is_no_vocabulary_is_refused(tmp_path: Path, broken: Any) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_text(json.dumps(broken))
    with pytest.raises(IntegrityError, match=r"vocabulary\.json"):
        WordVocabulary.load(path)


@given(
    content=st.binary()
    | st.recursive(st.none() | st.text(), lambda inner: st.lists(inner)).map(lambda v: json.dumps(v).encode())
)
def test_no_content_whatever_gets_past_load(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("vocabulary") / "vocabulary.json"
    path.write_bytes(content)
    with pytest.raises(IntegrityError):
        WordVocabulary.load(path)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        WordVocabulary.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    "make",
    [
        lambda: WordVocabulary.build(TEXTS, min_count=0),
        lambda: WordVocabulary.build(TEXTS, tokenizer="martian"),
        lambda: WordVocabulary(["a", "a"]),
        lambda: WordVocabulary(["<pad>"]),
    ],
)
def test_wrong_arguments_are_usage_errors(make: Any) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    assert isinstance(caught.value, CondgenError)
