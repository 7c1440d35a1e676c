"""How texts are cut into what a translation model can read."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from condgen_cli.errors import InputError
from condgen_translate.task import read, split


def words(count: int, end: str = ".") -> str:
    return " ".join(["Wort"] * count) + end


def test_a_short_text_is_one_item_as_it_is() -> None:
    (item,) = read("Guten Tag. Wie geht's?")
    assert (item.condition, item.source, item.part, item.parts) == ("Guten Tag. Wie geht's?", "Guten Tag. Wie geht's?", 0, 1)
    assert split("  机器学习很有趣\n") == ["机器学习很有趣"]
    assert split(words(60)) == [words(60)]
    assert split("字" * 149 + "。") == ["字" * 149 + "。"]


@pytest.mark.parametrize("text", ["", "  ", "\t\n\u3000"])
def test_a_blank_text_has_no_parts(text: str) -> None:
    (item,) = read(text)
    assert (item.parts, item.source) == (0, text)


def test_a_long_text_is_cut_at_sentence_ends_and_packed() -> None:
    text = " ".join([words(10), words(10, "!"), words(10, "?"), words(13, "…"), words(40), words(5)])
    parts = split(text)
    assert [len(part.split()) for part in parts] == [20, 23, 40, 5]
    assert " ".join(parts) == text
    items = list(read(text))
    assert [(item.part, item.parts) for item in items] == [(0, 4), (1, 4), (2, 4), (3, 4)]
    assert {item.source for item in items} == {text}


def test_chinese_needs_no_blanks_between_sentences() -> None:
    one, two, three = "字" * 19 + "。", "他说：“" + "字" * 12 + "！”", "字" * 20 + "?"
    assert split(one + two + three + "完") == [one, two, three + "完"]


@pytest.mark.parametrize(
    "first",
    [
        "Er sagte: „" + words(50) + "“",
        "Er sagte: »" + words(50, "!") + "«",
        words(50, "...)"),
        words(50, '?!"'),
        words(50, ".”"),
    ],
)
def test_closing_quotes_stay_with_their_sentence(first: str) -> None:
    second = words(40)
    assert split(f"{first} {second}") == [first, second]


@pytest.mark.parametrize("inner", ["z. B. ein", "am 3. Mai", "3.14 und", "www.example.org ist", "J. S. Bach", "Yahoo!s Wort"])
def test_dots_that_end_no_sentence(inner: str) -> None:
    sentence = f"{words(28, '')} {inner} {words(28, '.')}"
    assert split(f"{sentence} {words(20)}") == [sentence, words(20)]


def test_paragraphs_are_ends_too() -> None:
    assert split(f"Kapitel {words(40, '')}\n \n{words(30)}") == [f"Kapitel {words(40, '')}", words(30)]


@pytest.mark.parametrize("text", [words(201), "字" * 401, words(150, "") + "字" * 110, "x" * 5000, f"{words(5)} {words(201)}"])
def test_a_sentence_that_is_too_long_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"a sentence of \d+ characters is too long .*; split it"):
        split(text)


def test_a_long_sentence_within_the_limit_is_a_part() -> None:
    assert split(words(200)) == [words(200)]
    assert split("字" * 399 + "。") == ["字" * 399 + "。"]


@pytest.mark.parametrize(
    "text", [". " * 8_000, "." * 200_000, "?!" * 99_999 + "x", "！）" * 8_000, ".)" * 50_000, "\n " * 90_000 + "x"]
)
def test_no_text_takes_quadratic_time(text: str) -> None:
    try:
        parts = split(text)
    except InputError:
        return
    assert "".join("".join(parts).split()) == "".join(text.split())


@settings(max_examples=50)
@given(
    st.lists(
        st.sampled_from(["Wort", "z. B.", "Ende.", "Nein!“", "字", "好。", "吗？”", "...", "\n\n", " ", "x" * 30]), max_size=300
    )
)
def test_nothing_is_lost_and_parts_are_short(pieces: list[str]) -> None:
    text = " ".join(pieces)
    try:
        parts = split(text)
    except InputError:
        return
    assert "".join(re.sub(r"\s", "", part) for part in parts) == re.sub(r"\s", "", text)
    assert all(part == part.strip() != "" for part in parts)
