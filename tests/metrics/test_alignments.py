"""Edit alignments and how they are printed."""

from __future__ import annotations

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from condgen_cli.metrics.alignments import Alignment, Weights, align, closest_alignment, total_line

texts = st.lists(st.sampled_from("abcd"), max_size=8).map(" ".join)


def cost(alignment: Alignment, substitution: int, gap: int) -> int:
    return substitution * alignment.substitutions + gap * (alignment.deletions + alignment.insertions)


def cheapest(reference: list[str], hypothesis: list[str], substitution: int, gap: int) -> int:
    """The cost of the best alignment, by the recurrence in its plainest form."""
    row = [gap * j for j in range(len(hypothesis) + 1)]
    for i, word in enumerate(reference, 1):
        last, row = row, [gap * i]
        for j, written in enumerate(hypothesis, 1):
            row.append(min(last[j - 1] + substitution * (word != written), last[j] + gap, row[-1] + gap))
    return row[-1]


@given(texts, texts, st.sampled_from([(Weights.plain, 1, 1), (Weights.sclite, 4, 3)]))
def test_alignments_are_whole_and_cheapest(reference: str, hypothesis: str, setting: tuple[Weights, int, int]) -> None:
    weights, substitution, gap = setting
    alignment = align(reference, hypothesis, weights)
    assert [word for word, _ in alignment.pairs if word is not None] == reference.split()
    assert [word for _, word in alignment.pairs if word is not None] == hypothesis.split()
    assert cost(alignment, substitution, gap) == cheapest(reference.split(), hypothesis.split(), substitution, gap)


@given(texts.filter(bool), texts)
def test_plain_rate_is_the_word_error_rate(reference: str, hypothesis: str) -> None:
    assert align(reference, hypothesis).rate == pytest.approx(100 * jiwer.wer(reference, hypothesis))


def test_printed_as_sclite_prints() -> None:
    alignment = align("the cat sat on mat", "the dog sat on the mat", Weights.sclite)
    assert alignment.text("utterance-1").splitlines() == [
        "id: (utterance-1)",
        "Scores: (#C #S #D #I) 4 1 0 1",
        "REF:  the CAT sat on *** mat",
        "HYP:  the DOG sat on THE mat",
        "Eval:     S          I",
    ]


def test_weights_can_change_the_alignment() -> None:
    # two substitutions cost 2 against 2 for a deletion and an insertion, but 8 against 6 with sclite's weights
    assert align("a b", "b c", Weights.sclite).pairs == (("a", None), ("b", "b"), (None, "c"))
    assert align("a b", "b c", Weights.plain).rate == 100
    assert align("a", "b", Weights.sclite).pairs == (("a", "b"),)


def test_closest_reference_and_total() -> None:
    alignments = [closest_alignment(["x y", "a b c"], "a b"), closest_alignment(["q"], "q r")]
    assert alignments[0].pairs == (("a", "a"), ("b", "b"), ("c", None))
    assert total_line(alignments, Weights.plain) == "total (plain): #C 3 #S 0 #D 1 #I 1, 50.00 % errors"


@pytest.mark.parametrize("weights", Weights)
def test_nothing_aligns_with_nothing(weights: Weights) -> None:
    assert align("", " ", weights).pairs == ()
    assert align("", "a", weights).insertions == 1
    assert align("", "", weights).text("1").splitlines()[-1] == "Eval:"


@pytest.mark.parametrize(
    ("reference", "hypothesis", "shown"),
    [
        ("the cat sat", "The CAT sat", ("the cat sat", "The CAT sat", "S   S")),
        ("straße a", "strasse b", ("straße  A", "strasse B", "S       S")),
        ("caf\u00e9 a", "cafe\u0301 b", ("caf\\xe9    A", "cafe\\u0301 B", "S          S")),
        ("foo a", "foo\u200b a", ("foo       a", "foo\\u200b a", "S")),
        ("\u200b a", "a", ("\\u200b a", "****** a", "D")),
        ("北京 是 我", "北京 was 我", ("北京 是  我", "北京 WAS 我", "     S")),
        ("我 你", "我", ("我 你", "我 **", "   D")),
        ("e\u0301te a", "ete b", ("E\u0301TE A", "ETE B", "S   S")),
        ("a\x1b[1m b", "a b", ("A\\x1b[1M b", "A        b", "S")),
    ],
)
def test_what_differs_is_seen(reference: str, hypothesis: str, shown: tuple[str, str, str]) -> None:
    lines = align(reference, hypothesis).text("1").splitlines()[2:]
    assert tuple(line[6:].rstrip() for line in lines) == shown


letters = "aAß北京한ｱก"
scripts = st.lists(
    st.builds(str.__add__, st.sampled_from(letters), st.text(f"{letters}็\u0301\u200b\u202e\x07", max_size=3)), max_size=5
)


@given(scripts, scripts)
def test_columns_line_up_on_a_terminal(reference: list[str], hypothesis: list[str]) -> None:
    alignment = align(" ".join(reference), " ".join(hypothesis))
    upper, lower, kinds = (line[6:] for line in alignment.text("1").split("\n")[2:])
    starts = [[0], [0]]
    for row, found in zip((upper, lower), starts, strict=True):
        words = row.split()
        assert len(words) == len(alignment.pairs)
        place = 0
        for word in words:
            place = row.index(word, place)
            found.append(cell_len(row[:place]))
            place += len(word)
    assert starts[0] == starts[1]
    marks = [index for index, kind in enumerate(kinds) if kind != " "]
    errors = [start for start, pair in zip(starts[0][1:], alignment.pairs, strict=True) if pair[0] != pair[1]]
    assert marks == errors
    for one, other, pair in zip(upper.split(), lower.split(), alignment.pairs, strict=True):
        assert (one == other) == (pair[0] == pair[1])
    assert not {"\u202e", "\x07"} & set(upper + lower)


def test_what_counts_as_a_word_can_be_told() -> None:
    assert align("ab c", "ab d", split=lambda text: list(text.replace(" ", ""))).pairs == (("a", "a"), ("b", "b"), ("c", "d"))
