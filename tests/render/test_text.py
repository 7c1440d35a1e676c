"""Attention in the terminal."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.cells import cell_len
from rich.text import Text

from condgen_cli.generation import KINDS, AttentionMap, Axis, Generation
from condgen_cli.render import attention_text, entropy_table

POSITION_KINDS = [kind for kind in KINDS if kind not in ("grid", "hops", "heads")]


def grid(weights: list, words: tuple[str, ...], condition: object = None) -> Generation:
    array = np.array(weights, np.float32)
    rows, columns = array.shape[1:]
    axes = (Axis("word", "tokens", words), Axis.numbered("row", "grid", rows), Axis.numbered("column", "grid", columns))
    return Generation(" ".join(words), words, attention={"attention": AttentionMap(array, axes)}, condition=condition)


def line(weights: list, words: tuple[str, ...], axis: Axis) -> Generation:
    attention = AttentionMap(np.array(weights, np.float32), (Axis("word", "tokens", words), axis))
    return Generation(" ".join(words), words, attention={"attention": attention})


def body(text: str) -> str:
    """What follows the legend."""
    return text.split("\n\n", 1)[1]


def test_grids_are_shaded_by_their_share_of_the_peak() -> None:
    generation = grid([[[0.9, 0.0, 0.1], [0.0, 0.45, 0.3]], [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]], ("dog", "runs"))
    text = attention_text(generation, width=40, color=False)
    assert '" .:-=+*#%@"' in text
    assert body(text).splitlines() == [
        "dog     0.90  runs    1.00",
        "+------+      +------+",
        "|@@  ..|      |      |",
        "|  ++--|      |    @@|",
        "+------+      +------+",
    ]


def test_a_picture_gives_cells_its_proportions() -> None:
    one = [[[0.0, 1.0], [0.0, 0.0]]]
    wide = attention_text(grid(one, ("w",), Image.new("RGB", (200, 100))), width=40, color=False)
    tall = attention_text(grid(one, ("w",), Image.new("RGB", (100, 400))), width=40, color=False)
    assert body(wide).splitlines()[1:] == ["+--------+", "|    @@@@|", "|        |", "+--------+"]
    assert body(tall).splitlines()[1:] == ["+--+", "| @|", "| @|", "|  |", "|  |", "+--+"]


def test_words_that_are_too_long_are_cut_to_columns_of_the_terminal() -> None:
    cell = [[[1.0]]]
    text = body(attention_text(grid(cell * 2, ("extraordinarily", "日本語日本語日本語")), width=40, color=False))
    assert text.splitlines()[0] == "extra.. 1.00  日本 .. 1.00"


def test_control_characters_never_reach_the_terminal() -> None:
    words = ("\x1b[31mred", "\n", " ", "\u202e")
    for color in (False, True):
        text = attention_text(grid([[[1.0]]] * 4, words), width=80, color=color)
        plain = Text.from_ansi(text).plain
        assert "\\x1b" in plain
        assert "\\n" in plain
        assert "' '" in plain
        assert "\u202e" not in text
        assert "\x1b[31mred" not in text


def test_matrix_has_steps_down_and_labels_across() -> None:
    axis = Axis("source", "tokens", ("das", "Haus", "日"))
    generation = line([[1, 0, 0], [0, 0.9, 0.1], [0, 0.4, 0.8], [0, 0, 0]], ("the", "house", "x", "</s>"), axis)
    assert body(attention_text(generation, width=60, color=False)).splitlines() == [
        "      das Haus 日",
        "the  |@@@         | 1.00 das",
        "house|    @@@@ .. | 0.90 Haus",
        "x    |    ++++ @@ | 0.80 日",
        "</s> |            | 0.00",
    ]


def test_names_that_dont_fit_beside_each_other_are_written_downwards() -> None:
    axis = Axis("source", "tokens", ("das", "Häuschen", "日本語", "e\u0301t"))
    weights = [[1, 0, 0, 0], [0, 0.9, 0, 0], [0, 0, 0.5, 0.5], [0, 0, 0, 1]]
    assert body(attention_text(line(weights, ("a", "b", "c", "d"), axis), width=24, color=False)).splitlines() == [
        "     H",
        "     ä",
        "     u",
        "     s",
        "     c",
        "  d  h  日",
        "  a  e  本 e\u0301",
        "  s  n  語 t",
        "a|@@          | 1.00",
        "b|   @@       | 0.90",
        "c|      @@ @@ | 0.50",
        "d|         @@ | 1.00",
    ]


SENTENCE = ["我", "昨天", "在", "图书馆", "Ein", "junger", "Mann", "，", "été", "的", "书", "machine"]


@settings(max_examples=30)
@given(st.lists(st.sampled_from(SENTENCE), min_size=1, max_size=40), st.integers(30, 120))
def test_each_source_token_has_one_column_below_its_name(source: list[str], width: int) -> None:
    steps = tuple(f"t{index}" for index in range(max(4, len(source))))
    text = attention_text(
        line(np.eye(len(steps), len(source)).tolist(), steps, Axis("source", "tokens", tuple(source))), width=width, color=False
    )
    found = []
    for block in body(text).split("\n\n"):
        lines = block.splitlines()
        first = next(index for index, row in enumerate(lines) if "|" in row)
        for row in lines[first:]:
            if "@" in row:
                start = row.index("@")
                heading = "".join(
                    _columns(line, start, row.count("@")).strip() for line in lines[:first] if "source" not in line
                )
                found.append((row.partition("|")[0].strip(), heading))
    names = [name if len(name) < 13 else name[:10] + ".." for name in source]
    assert found == list(zip(steps, names, strict=False))


def _columns(text: str, start: int, count: int) -> str:
    """What stands in some columns of a line; zero-width characters belong to the one before."""
    kept, column = "", 0
    for letter in text:
        at = column if cell_len(letter) else column - 1
        kept += letter if start <= at < start + count else ""
        column += cell_len(letter)
    return kept


def test_thirty_tokens_by_thirty_in_forty_columns_lose_nothing() -> None:
    source = Axis("source", "tokens", tuple(f"Wort{index}" for index in range(30)))
    text = attention_text(
        line(np.eye(30).tolist(), tuple(f"word{index}" for index in range(30)), source), width=40, color=False
    )
    assert max(map(len, text.splitlines())) <= 40
    blocks = body(text).split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == [f"source {n + 1} to {n + 10} of 30" for n in (0, 10, 20)]
    assert text.count("1.00") == text.count("@@") == 30, "each word's weight stands where its strongest token is"


def test_very_many_tokens_are_added_up() -> None:
    axis = Axis.numbered("source", "tokens", 2000)
    text = attention_text(line(np.full((5, 2000), 0.0005).tolist(), tuple("abcde"), axis), width=60, color=False)
    assert "Each column adds up" in " ".join(text.split())
    assert len(text.splitlines()) < 20


def test_marks_of_subwords_become_a_hyphen_before_what_goes_on() -> None:
    axis = Axis("source", "tokens", ("▁机", "器", "▁Stadt", "park", "▁", "x", "."))
    steps = ("▁machine", "s", "▁city", "<eos>", "2")
    generation = line(np.eye(5, 7).tolist(), steps, axis)
    text = attention_text(generation, width=100, color=False)
    assert "▁" not in text
    assert '"-" goes on with the word before' in text
    rows = body(text).splitlines()
    assert rows[0].split() == ["机", "器", "Stadt", "-park", "'", "'", "x", "."]
    assert [row.split("|")[0].strip() for row in rows[1:]] == ["machine", "-s", "city", "<eos>", "2"]
    assert "Stadt" in (table := entropy_table(generation, width=100, color=False))
    assert "-park" in table
    assert "▁" not in table
    plain = attention_text(
        line(np.eye(4, 2).tolist(), tuple("abcd"), Axis("source", "tokens", ("un", "do"))), width=60, color=False
    )
    assert "-do" not in plain


@pytest.mark.parametrize("color", [False, True])
def test_an_ascii_terminal_gets_escapes_in_aligned_columns(color: bool) -> None:
    axis = Axis("source", "tokens", ("机", "器", "very"))
    generation = line(np.eye(4, 3).tolist(), ("machine", "été", "x", "y"), axis)
    text = attention_text(generation, width=60, color=color, encoding="ascii")
    plain = Text.from_ansi(text).plain
    assert plain.isascii()
    assert r"\u673a \u5668 very" in plain
    assert r"\xe9t\xe9" in plain
    assert max(map(len, plain.splitlines())) <= 60
    picture = grid([[[1.0]]], ("w",), Image.new("RGB", (60, 60)))
    assert attention_text(picture, width=60, color=color, encoding="ascii").isascii()
    assert entropy_table(generation, width=60, color=color, encoding="ascii").isascii()


def test_colour_shades_each_column_as_wide_as_its_name() -> None:
    axis = Axis("source", "tokens", ("机器", "x", "Haus"))
    text = attention_text(line(np.eye(4, 3).tolist(), tuple("abcd"), axis), width=60, color=True)
    rows = [re.findall(r"48;([\d;]+)m( +)", row) for row in text.splitlines() if "|" in row]
    bright, dark = (code for code, _ in rows[0])
    assert bright != dark
    assert [[(code == bright, len(blank)) for code, blank in row] for row in rows] == [
        [(True, 5), (False, 8)],
        [(False, 5), (True, 3), (False, 5)],
        [(False, 8), (True, 5)],
        [(False, 13)],
    ]


def test_few_steps_are_bars() -> None:
    axis = Axis("sentence", "sentences", ("Mary went home.", "John slept."))
    text = attention_text(line([[0.25, 0.75]], ("home",), axis), width=40, color=False)
    assert text.splitlines() == [
        "home",
        "Mary went home. 0.25 ######",
        "John slept.     0.75 #################",
    ]


def test_time_is_marked_in_seconds_below_its_columns() -> None:
    axis = Axis("time", "time", tuple(index / 10 for index in range(40)))
    weights = np.zeros((2, 40))
    weights[0, 10] = weights[1, 30] = 1
    lines = body(attention_text(line(weights.tolist(), ("a", "b"), axis), width=60, color=False)).splitlines()
    assert lines[0].index("@") == lines[2].index("1s")
    assert lines[1].index("@") == lines[2].index("3s")


def test_many_positions_are_added_up_and_it_says_so() -> None:
    axis = Axis.numbered("slot", "slots", 1000)
    text = attention_text(line(np.full((5, 1000), 0.001).tolist(), tuple("abcde"), axis), width=60, color=False)
    assert "Each column adds up 20 positions" in " ".join(text.split())
    assert body(text).startswith("a|@@@@@@")
    assert body(text).splitlines()[0].endswith("| 0.020")
    assert body(text).splitlines()[-1].split()[:2] == ["0", "200"]


def test_hops_and_heads_have_a_panel_each() -> None:
    axes = (
        Axis("answer", "tokens", ("yes",)),
        Axis.numbered("hop", "hops", 2),
        Axis("head", "heads", ("a", "b")),
        Axis.numbered("sentence", "sentences", 3),
    )
    weights = np.zeros((1, 2, 2, 3), np.float32)
    weights[0, 1, 0, 2] = 1
    text = attention_text(Generation("yes", attention={"memory": AttentionMap(weights, axes)}), width=40, color=False)
    panels = text.split("\n\n")
    assert [panel.splitlines()[0] for panel in panels] == ["hop 0, head a", "hop 0, head b", "hop 1, head a", "hop 1, head b"]
    assert "2" in panels[2].splitlines()[4]
    assert [("#" in panel) for panel in panels] == [False, False, True, False]


def test_color_lights_the_picture_where_the_weight_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    weights = np.zeros((1, 4, 4))
    weights[0, 3, 0] = 1
    text = attention_text(grid(weights.tolist(), ("w",), Image.new("RGB", (60, 60), (100, 150, 200))), width=80, color=True)
    rows = [re.findall(r"38;2;(\d+);\d+;\d+;48;2;\d+;\d+;\d+m(▀+)", row) for row in text.splitlines() if "▀" in row]
    reds = np.array([[int(red) for red, blocks in row for _ in blocks] for row in rows])
    photo, lit = reds[:, : reds.shape[1] // 2], reds[:, reds.shape[1] // 2 :]
    assert (photo == 100).all()
    height, width = lit.shape
    row, column = np.unravel_index(lit.argmax(), lit.shape)
    assert row >= height * 3 / 4 - 1
    assert column < width / 4
    assert lit[0, -1] < 40
    assert lit.max() > 100


def test_256_colours_where_the_terminal_has_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLORTERM", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    text = attention_text(grid([[[1.0]]], ("w",), Image.new("RGB", (60, 60), "red")), width=80, color=True)
    assert "38;5;" in text
    assert "38;2;" not in text


@pytest.mark.parametrize("color", [False, True])
def test_a_model_without_attention_says_so(color: bool) -> None:
    empty = AttentionMap(np.zeros((0, 3), np.float32), (Axis("word", "tokens", ()), Axis.numbered("source", "tokens", 3)))
    assert "no attention" in attention_text(Generation("x"), width=80, color=color)
    assert "no attention" in attention_text(Generation("x", attention={"a": empty}), width=80, color=color)
    assert "no attention" in entropy_table(Generation("x"), width=80, color=color)


words = st.text(max_size=20) | st.sampled_from(["dog", "naïve", "日本語", "👩‍🚀 astronaut", "é", "\x1b[0m", "\ud800"])


@st.composite
def generations(draw: st.DrawFn) -> Generation:
    """Any kind of axis, any number of steps, heads and positions; weights may be zero or not a number."""
    steps = draw(st.lists(words, min_size=1, max_size=6))
    kind = draw(st.sampled_from(["grid", *POSITION_KINDS]))
    heads = draw(st.integers(1, 2))
    if kind == "grid":
        positions = tuple(Axis.numbered(name, "grid", draw(st.integers(1, 60))) for name in ("row", "column"))
    else:
        size = draw(st.integers(1, 300))
        start = draw(st.floats(0, 1000))
        pool = draw(st.lists(words, min_size=1, max_size=4))
        labels = tuple(start + index * 0.04 if kind == "time" else pool[index % len(pool)] for index in range(size))
        positions = (Axis("position", kind, labels),)
    axes = (Axis("word", "tokens", tuple(steps)), *([Axis.numbered("head", "heads", heads)] if heads > 1 else []), *positions)
    shape = tuple(len(axis) for axis in axes)
    weights = np.random.default_rng(draw(st.integers(0, 99))).random(shape, np.float32) ** 4
    weights[0] = draw(st.sampled_from([0.0, np.nan, 1.0]))
    picture = draw(st.none() | st.builds(Image.new, st.just("RGB"), st.tuples(st.integers(1, 300), st.integers(1, 300))))
    return Generation("x", tuple(steps), np.zeros(len(steps), np.float32), 0.0, {"a": AttentionMap(weights, axes)}, picture)


def aligned(positions: int) -> Generation:
    """Blocks of few columns, whose captions are the longest lines in a narrow terminal."""
    axes = (Axis("word", "tokens", ("",) * 4), Axis("position", "tokens", ("",) * positions))
    weights = np.full((4, positions), 1 / positions, np.float32)
    return Generation("x", ("",) * 4, np.zeros(4, np.float32), 0.0, {"a": AttentionMap(weights, axes)})


@settings(max_examples=40)
@given(generations(), st.integers(20, 140), st.booleans())
@example(aligned(10), 20, False)
def test_no_line_is_wider_than_the_terminal(generation: Generation, width: int, color: bool) -> None:
    text = attention_text(generation, width=width, color=color)
    lines = Text.from_ansi(text).plain.splitlines() if color else text.split("\n")
    assert max(map(cell_len, lines)) <= width
    text.encode()


def test_without_colour_the_drawing_is_ascii() -> None:
    axis = Axis("source", "tokens", ("das", "ist", "gut"))
    matrix = line(np.eye(4, 3).tolist(), ("it", "is", "good", "."), axis)
    pictures = grid(np.random.default_rng(0).random((3, 7, 7)).tolist(), ("a", "b", "c"), Image.new("RGB", (90, 60)))
    for generation in (matrix, pictures):
        assert attention_text(generation, width=80, color=False).isascii()
        assert entropy_table(generation, width=80, color=False).isascii()


def test_entropy_table_states_bits_cells_and_extras() -> None:
    weights = [[[0.5, 0.0], [0.5, 0.0]], [[0.25, 0.25], [0.25, 0.25]], [[0.0, 0.0], [0.0, 1.0]]]
    base = grid(weights, ("a", "dog", "<end>"))
    log_probs = np.log(np.array([0.5, 0.25, 1.0], np.float32))
    generation = Generation(
        "a dog", base.tokens, log_probs, 0.0, base.attention, extras={"gate": np.array([0.1, 0.2, 0.3], np.float32)}
    )
    lines = entropy_table(generation, width=100, color=False, strongest=2).splitlines()
    assert lines[0] == "2 x 2 positions; uniform attention would have 2.00 bits"
    assert lines[1].split() == ["step", "word", "probability", "bits", "gate", "strongest", "(row,", "column)"]
    assert lines[3].split() == ["1", "a", "0.500", "1.00", "0.100", "(0,", "0)", "0.500,", "(1,", "0)", "0.500"]
    assert lines[4].split()[:5] == ["2", "dog", "0.250", "2.00", "0.200"]
    assert lines[5].split()[:5] == ["3", "<end>", "1.000", "0.00", "0.300"]


@settings(max_examples=20)
@given(generations())
def test_entropy_table_takes_anything(generation: Generation) -> None:
    entropy_table(generation, width=80, color=False).encode()
