"""Signs that an output is worth little."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condgen_cli.running.signs import repetition, unread_doubt

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("I don't un un un un un un un un", "un"),
        ("1000000000000000.", "0"),
        ("Iturnurnurnurnurnurnurnurnitors.", "urn"),
        ("he is being being being being being pulled", "being"),
        ("a dog on the side of the side of the side of the house", "the side of"),
        ("to a boat that is in front of a boat that is in front of a boat that is in front of", "a boat that is in front of"),
        ("哈哈哈哈哈哈哈哈哈哈哈哈", "哈"),
        ("line\nline\nline\nline\nline\n", "line"),
    ],
)
def test_loops(text: str, part: str) -> None:
    found = repetition(text) or ""
    assert set(found) - {"…"} <= set(part)  # where a loop begins may be told in several ways
    assert len(found) == min(24, len(part))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "one million is 1000000",
        "no, no, no, no!",
        "nine nine nine four two",
        "a man in a red shirt and a woman in a red shirt",
        "a dog runs then a dog jumps then a dog swims",
        "床前明月光，疑是地上霜。举头望明月，低头思故乡。",
        "1,000,000,000",
        "....",
    ],
)
def test_no_loops(text: str) -> None:
    assert repetition(text) is None


@given(
    part=st.text(LETTERS, min_size=1, max_size=8).filter(lambda part: len(set(part)) > 1),
    times=st.integers(12, 40),
    around=st.tuples(st.text(LETTERS, max_size=20), st.text(LETTERS, max_size=20)),
)
def test_what_is_written_a_dozen_times_in_a_row_is_found(part: str, times: int, around: tuple[str, str]) -> None:
    before, after = around
    assert repetition(f"{before} {' '.join([part] * times)} {after}") is not None


def test_a_text_of_which_most_is_unread_is_doubted() -> None:
    assert unread_doubt(5, 9) == "a guess: the model can read 4 of 9 characters"
    assert unread_doubt(4, 8) == unread_doubt(0, 0) == ""
