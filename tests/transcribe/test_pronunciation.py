"""The pronouncing dictionary's reader, and how words that it lacks are said."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from condgen_cli.errors import InputError, NotFoundError
from condgen_transcribe.pronunciation import PHONES, LetterToSound, read_dictionary

DICTIONARY = """
a AH0
a(2) EY1
bat B AE1 T
cat K AE1 T
chat CH AE1 T
chin CH IH1 N
cut K AH1 T  # with a comment
fax F AE1 K S
hat HH AE1 T
matted M AE1 T IH0 D
mitten M IH1 T AH0 N
nut N AH1 T
tax T AE1 K S
thin TH IH1 N
thinner TH IH1 N ER0
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cmudict") / "cmudict.dict"
    path.write_text(DICTIONARY, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def rules(path: Path) -> LetterToSound:
    return LetterToSound(read_dictionary(path))


def test_dictionary_as_published(path: Path) -> None:
    dictionary = read_dictionary(path)
    assert dictionary["A"] == [("AX",), ("EY",)]
    assert dictionary["CUT"] == [("K", "AH", "T")]
    assert len(dictionary) == 14
    assert {phone for word in dictionary.values() for said in word for phone in said} <= set(PHONES)


@pytest.mark.parametrize(("line", "number"), [("cat", 1), ("\ncat K AE1 Q", 2), ("cat k ae t", 1)])
def test_another_line_is_named(tmp_path: Path, line: str, number: int) -> None:
    (tmp_path / "cmudict.dict").write_text(line, encoding="utf-8")
    with pytest.raises(InputError, match=rf"cmudict.dict:{number}: "):
        read_dictionary(tmp_path / "cmudict.dict")


def test_no_dictionary(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no pronouncing dictionary .*cmudict\.dict"):
        read_dictionary(tmp_path / "cmudict.dict")


@pytest.mark.parametrize(
    ("word", "sounds"),
    [
        ("CHAT", [(), ("CH",), ("AE",), ("T",)]),
        ("TAX", [("T",), ("AE",), ("K", "S")]),
        ("THIN", [(), ("TH",), ("IH",), ("N",)]),
    ],
)
def test_each_letter_has_its_phones(rules: LetterToSound, word: str, sounds: list[tuple[str, ...]]) -> None:
    assert rules(word) == rules(word.lower()) == sounds


@pytest.mark.parametrize(("word", "said"), [("HATTED", "HH AE T IH D"), ("BAX", "B AE K S"), ("CHUT", "CH AH T")])
def test_unknown_words_are_said_as_known_ones(rules: LetterToSound, word: str, said: str) -> None:
    assert " ".join(phone for letter in rules(word) for phone in letter) == said


@settings(max_examples=50)
@given(st.text("ABCHINTUXabchß'é-", max_size=12))
def test_every_letter_has_an_entry(rules: LetterToSound, word: str) -> None:
    said = rules(word)
    assert len(said) == len(word)
    assert {phone for letter in said for phone in letter} <= set(PHONES)


def test_no_sound_of_what_is_no_letter(rules: LetterToSound) -> None:
    assert rules("-'-") == [(), (), ()]
    assert rules("") == []
