"""Forms of verse, their counting, and what has to stand at each place."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condgen_cli.errors import UsageError
from condgen_cli.generation import Generation
from condgen_cli.item import Item
from condgen_generate.metrics import Form as FormMetric
from condgen_generate.metrics import Rhyme, rhymes
from condgen_generate.verse import COMMA, FORMS, PERIOD, Form, form_of, guess_form, lines_of, normalise, parse_form, plan

QUIET_NIGHT = "牀前明月光，疑是地上霜。舉頭望明月，低頭思故鄉。"

characters = st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF)
forms = st.sampled_from(FORMS)


@st.composite
def poems(draw: st.DrawFn) -> tuple[Form, list[str]]:
    """A form and lines in it."""
    form = draw(forms)
    return form, [draw(st.text(characters, min_size=form.syllables, max_size=form.syllables)) for _ in range(form.lines)]


@given(poems(), st.data())
def test_whatever_the_marks_a_poem_is_recognised_and_normalised(poem: tuple[Form, list[str]], data: st.DataObject) -> None:
    form, lines = poem
    marked = "".join(line + data.draw(st.sampled_from("，。？！；\n")) for line in lines[:-1]) + lines[-1]
    if "\n" in marked:
        marked = marked.replace("\n", "。\n")
    normal = normalise(marked)
    assert normal is not None
    assert len(normal) == form.length
    assert form_of(normal) == form
    assert lines_of(normal) == lines
    assert normalise(normal) == normal
    assert normal[form.syllables :: form.syllables + 1] == (COMMA + PERIOD) * (form.lines // 2)


@given(poems(), st.data())
def test_a_poem_with_a_wrong_character_anywhere_is_in_no_form(poem: tuple[Form, list[str]], data: st.DataObject) -> None:
    whole = normalise(PERIOD.join(poem[1]))
    assert whole is not None
    place = data.draw(st.integers(0, len(whole) - 1))
    assert form_of(whole[:place] + whole[place + 1 :]) is None
    assert form_of(f"{whole[:place]}a{whole[place + 1 :]}") is None
    assert form_of(f"{whole[:place]}{PERIOD}{whole[place:]}") is None


@given(poems(), st.integers(0, 60), st.booleans())
def test_a_plan_of_a_poem_s_beginning_and_its_first_characters_is_filled_by_the_poem(
    poem: tuple[Form, list[str]], count: int, acrostic: bool
) -> None:
    form, lines = poem
    whole = normalise(PERIOD.join(lines))
    assert whole is not None
    places = plan(form, whole[:count], "".join(line[0] for line in lines) if acrostic else "")
    assert len(places) == len(whole)
    assert all(place in (None, character) for place, character in zip(places, whole, strict=True))
    given = sum(place is not None for place in places)
    firsts = sum(place >= count for place in range(0, form.length, form.syllables + 1)) if acrostic else 0
    marks = sum(place >= count for place in range(form.syllables, form.length, form.syllables + 1))
    assert given == min(count, form.length) + firsts + marks


@pytest.mark.parametrize(
    ("opening", "acrostic", "message"),
    [
        ("春" * 21, "", "20 characters, but 21 are given"),
        ("", "春夏秋冬春", "4 lines, the acrostic 5"),
        ("月", "春", "line 1 can't begin with both 月 and 春"),
        ("moon", "", "which 'm' isn't"),
    ],
)
def test_a_plan_that_can_not_be_is_refused(opening: str, acrostic: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        plan(Form(5, 4), opening, acrostic)


def test_forms_have_names() -> None:
    assert [parse_form(name) for name in ("5x4", "7×4", " 5X8 ", "七律", "五絕")] == [
        Form(5, 4),
        Form(7, 4),
        Form(5, 8),
        Form(7, 8),
        Form(5, 4),
    ]
    with pytest.raises(UsageError, match="no form named '6x4'") as caught:
        parse_form("6x4")
    assert caught.value.hint == "syllables x lines: 5x4, 7x4, 5x8, 7x8"


@pytest.mark.parametrize(
    ("opening", "acrostic", "form"),
    [
        ("", "", "7x4"),
        ("牀前明月光", "", "5x4"),
        ("牀前明月光，疑是", "", "5x4"),
        ("故人西辭黃鶴樓，", "", "7x4"),
        ("", "春夏秋冬", "7x4"),
        ("", "春夏秋冬春夏秋冬", "7x8"),
        ("國破山河在，城春草木深。感時花濺淚，恨別鳥驚心。烽火", "", "5x8"),
    ],
)
def test_a_form_is_guessed_from_the_beginning(opening: str, acrostic: str, form: str) -> None:
    assert guess_form(opening, acrostic).name == form


@pytest.mark.parametrize(
    "text",
    ["", "春", "春夏，秋冬。", "春夏秋冬春，春夏秋冬春。", "□前明月光，疑是地上霜。舉頭望明月，低頭思故鄉。", "床" * 28],
)
def test_what_is_in_no_form_is_left_out(text: str) -> None:
    assert normalise(text) is None


def test_rhymes_are_heard_in_even_lines() -> None:
    assert rhymes(QUIET_NIGHT)  # guāng and yuè don't count; shuāng, xiāng do
    assert not rhymes(QUIET_NIGHT.replace("鄉", "山"))
    assert not rhymes("向晚意不適，驅車登古原。夕陽無限好，只是近黃昏。")  # a rhyme then, none now: yuán, hūn


def test_scores_of_forms_and_rhymes_are_shares() -> None:
    outputs = [QUIET_NIGHT, QUIET_NIGHT.replace("鄉", "山"), QUIET_NIGHT[:-1], "To be, or not to be"]
    items = [Item(str(number), None, ("x",)) for number in range(4)]
    generations = [Generation(text) for text in outputs]
    form, rhyme = FormMetric(), Rhyme()
    assert form.score(form.statistics(items, generations).sum(0), 4)["form"] == 50
    assert rhyme.score(rhyme.statistics(items, generations).sum(0), 4)["rhyme"] == 50
