"""Attention as files: PNG, HTML, JSON, NPZ, text."""

from __future__ import annotations

import base64
import json
import os
import re
import warnings
from collections.abc import Iterator
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from condgen_cli.errors import CondgenError, NotFoundError, UsageError
from condgen_cli.generation import AttentionMap, Axis, Generation
from condgen_cli.render import fonts, save_attention
from condgen_cli.render.light import light_up, spread

EVIL = ("<script>alert(1)</script>", "</script><b>", "<!--", '"&amp;')


def on_picture(cells: list[tuple[int, int]], grid: tuple[int, int], condition: object, words: tuple[str, ...]) -> Generation:
    """All of a step's weight on one cell."""
    weights = np.zeros((len(cells), *grid), np.float32)
    for step, (row, column) in enumerate(cells):
        weights[step, row, column] = 1
    axes = (Axis("word", "tokens", words), Axis.numbered("row", "grid", grid[0]), Axis.numbered("column", "grid", grid[1]))
    log_probs = np.full(len(words), -0.5, np.float32)
    extras = {"gate": np.linspace(0.25, 1, len(words), dtype=np.float32)}
    return Generation(" ".join(words), words, log_probs, -1.5, {"attention": AttentionMap(weights, axes)}, condition, extras)


def in_time() -> Generation:
    axis = Axis("time", "time", tuple(index * 0.02 for index in range(900)))
    weights = np.full((30, 900), 1 / 900, np.float32)
    attention = AttentionMap(weights, (Axis("character", "tokens", tuple("abcdefghij" * 3)), axis))
    return Generation("abc", attention={"attention": attention})


def in_hops() -> Generation:
    axes = (Axis("answer", "tokens", ("yes",)), Axis.numbered("hop", "hops", 2), Axis("sentence", "sentences", EVIL))
    return Generation("yes", ("yes",), attention={"hops": AttentionMap(np.full((1, 2, 4), 0.25, np.float32), axes)})


def in_pieces() -> Generation:
    source, steps = ("机器", "▁</script><b>", "x", "学"), ("▁learn", "ing", "-up", "</script>")
    weights = np.array([[0.7, 0.1, 0.1, 0.1], [0, 1, 0, 0], [0, 0, 1, 0], [0.25] * 4], np.float32)
    axes = (Axis("token", "tokens", steps), Axis("source", "tokens", source))
    return Generation("learning-up", steps, attention={"attention": AttentionMap(weights, axes)}, condition="机器")


def generations() -> dict[str, Generation]:
    photo = Image.new("RGB", (300, 200), (90, 120, 60))
    return {
        "picture": on_picture([(0, 0), (1, 2), (0, 1), (1, 1)], (2, 3), photo, EVIL),
        "no picture": on_picture([(0, 0)], (7, 5), None, ("a",)),
        "time": in_time(),
        "hops": in_hops(),
        "pieces": in_pieces(),
    }


# Light


@settings(max_examples=60)
@given(st.integers(1, 14), st.integers(1, 14), st.integers(40, 300), st.integers(40, 300), st.data())
def test_light_falls_on_the_rectangle_of_its_cell(
    rows: int, columns: int, width: int, height: int, data: st.DataObject
) -> None:
    row, column = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    weights = np.zeros((rows, columns))
    weights[row, column] = 0.3
    light = spread(weights, (width, height))
    assert light.shape == (height, width)
    assert light.min() >= 0
    assert light.max() == pytest.approx(1)
    y, x = (np.arange(height) + 0.5) * rows / height, (np.arange(width) + 0.5) * columns / width
    inside = np.outer(np.floor(y) == row, np.floor(x) == column)
    brightest = np.unravel_index(light.argmax(), light.shape)
    assert inside[brightest]
    away = np.outer(abs(y - row - 0.5) < 1.5, abs(x - column - 0.5) < 1.5)
    assert light[inside].min() > light[~away].max(initial=0.0)


def test_light_of_a_constant_map_is_constant_and_of_no_map_dark() -> None:
    assert spread(np.full((7, 7), 0.02), (50, 31)) == pytest.approx(1)
    assert (spread(np.zeros((7, 7)), (50, 31)) == 0).all()


def test_light_is_symmetric_with_the_map() -> None:
    weights = np.random.default_rng(0).random((5, 8))
    light = spread(weights, (64, 30))
    assert spread(weights[::-1, ::-1], (64, 30)) == pytest.approx(light[::-1, ::-1])


def test_a_dark_place_shows_that_it_is_lit() -> None:
    weights = np.zeros((2, 2))
    weights[0, 0] = 1
    pixels = np.asarray(light_up(Image.new("RGB", (40, 40)), weights)).mean(-1)
    assert pixels[5, 5] > pixels[35, 35] + 20


# PNG


def test_png_has_the_picture_first_and_one_lit_copy_a_word(tmp_path: Path) -> None:
    photo = Image.new("RGB", (600, 300), (200, 100, 50))
    cells = [(0, 0), (3, 6), (2, 3)]
    save_attention(tmp_path / "a.png", on_picture(cells, (4, 7), photo, ("one", "two", "three")), "photo.jpg")
    sheet = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    boxes = _pictures(sheet)
    assert len(boxes) == 4
    for _, _, height, width in boxes:
        assert width / height == pytest.approx(2, abs=0.02)
    top, left, height, width = boxes[0]
    assert (sheet[top : top + height, left : left + width] == (200, 100, 50)).all()
    for (row, column), (top, left, height, width) in zip(cells, boxes[1:], strict=True):
        light = sheet[top : top + height, left : left + width].sum(-1)
        blocks = [[light[_part(r, 4, height), _part(c, 7, width)].mean() for c in range(7)] for r in range(4)]
        assert np.unravel_index(np.argmax(blocks), (4, 7)) == (row, column)


def _part(index: int, count: int, length: int) -> slice:
    return slice(round(index * length / count), round((index + 1) * length / count))


def _pictures(sheet: np.ndarray) -> list[tuple[int, int, int, int]]:
    """The figure's pictures in reading order: (top, left, height, width) of tall bands, then wide runs, that are not white."""
    coloured = (sheet.min(-1) < 200) & (np.ptp(sheet, -1) > 3)
    boxes = []
    for top, bottom in _runs(coloured.any(1)):
        boxes += [(top, left, bottom - top, right - left) for left, right in _runs(coloured[top:bottom].any(0))]
    return boxes


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2) if end - start > 100]


@pytest.mark.parametrize("size", [(1, 1), (3000, 10), (10, 3000)])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBA", "I;16", "P"])
def test_any_picture_can_be_drawn(tmp_path: Path, size: tuple[int, int], mode: str) -> None:
    generation = on_picture([(0, 0), (6, 6)], (7, 7), Image.new(mode, size), ("a", "b"))
    for suffix in ("png", "html") if mode == "RGB" else ("html",):
        save_attention(tmp_path / f"a.{suffix}", generation, "x")


@pytest.mark.parametrize("name", generations())
def test_every_kind_becomes_a_png(tmp_path: Path, name: str) -> None:
    save_attention(tmp_path / "a.PNG", generations()[name], "title")
    with Image.open(tmp_path / "a.PNG") as image:
        assert image.format == "PNG"
        assert np.asarray(image).std() > 5


def test_heat_map_is_brightest_at_the_peak(tmp_path: Path) -> None:
    weights = np.full((4, 5), 0.01, np.float32)
    weights[2, 3] = 0.96
    axes = (Axis.numbered("word", "tokens", 4), Axis("source", "tokens", tuple("abcde")))
    save_attention(tmp_path / "a.png", Generation("", attention={"a": AttentionMap(weights, axes)}), "")
    sheet = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    dark = np.argwhere((sheet[..., 2] > sheet[..., 0] + 10) & (sheet.sum(-1) < 120))
    (top, left), (bottom, right) = dark.min(0), dark.max(0) + 1
    peak = sheet[round(top + (bottom - top) * 2.5 / 4), round(left + (right - left) * 3.5 / 5)]
    assert tuple(peak) == (252, 252, 190)


def test_every_token_is_named_in_a_long_heat_map(tmp_path: Path) -> None:
    axes = (Axis.numbered("token", "tokens", 90), Axis.numbered("source", "tokens", 80))
    generation = Generation("", attention={"a": AttentionMap(np.eye(90, 80, dtype=np.float32), axes)})
    save_attention(tmp_path / "a.png", generation, "")
    with Image.open(tmp_path / "a.png") as image:
        assert image.width > 80 * 20
        assert image.height > 90 * 20


@pytest.fixture
def fresh_fonts() -> Iterator[None]:
    """What was found out about fonts is kept for the process: forget it, before and after."""
    caches = [value for value in vars(fonts).values() if hasattr(value, "cache_clear")]
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.usefixtures("fresh_fonts")
def test_a_character_that_no_font_has_is_named_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fonts, "installed_fonts", list)
    assert fonts.text_width("机器", 19) == fonts.text_width("U+673A U+5668", 19)
    assert fonts.text_width("naïve", 19) < fonts.text_width("机", 19)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_attention(tmp_path / "a.png", in_pieces(), "机器")
        save_attention(tmp_path / "b.png", in_pieces(), "学习")
    error = capsys.readouterr().err
    assert error.count("\n") == error.count("warning: no installed font") == 1


@pytest.mark.usefixtures("fresh_fonts")
def test_a_character_is_drawn_in_a_font_that_has_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No font here is sure to have Chinese: one that is asked about says so, and draws it as its missing glyph."""
    default = fonts._default_path(bold=False)
    other = default.replace("DejaVuSans.ttf", "DejaVuSansMono.ttf")
    broken, plain = "/missing.ttf", default.replace("DejaVuSans.ttf", "DejaVuSerif.ttf")
    known = fonts._glyphs
    monkeypatch.setattr(fonts, "installed_fonts", lambda: [broken, plain, other])
    monkeypatch.setattr(fonts, "_glyphs", lambda path: known(path) | ({ord("机")} if path == other else set()))
    drawn = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, at, text, *rest: drawn.append((text, rest[1].path)))
    fonts.draw_text(ImageDraw.Draw(Image.new("RGB", (9, 9))), (0, 9), "a机机b…", 19, (0, 0, 0))
    assert drawn == [("a", default), ("机机", other), ("b…", default)]
    assert capsys.readouterr().err == ""


# HTML


class Page(HTMLParser):
    """Elements with their attributes, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script" and self.scripts:
            self.scripts[-1] += data


@pytest.mark.parametrize("name", generations())
def test_page_is_self_contained_and_escaped(tmp_path: Path, name: str) -> None:
    save_attention(tmp_path / "a.html", generations()[name], EVIL[0] + '" onload="x')
    text = (tmp_path / "a.html").read_text("utf-8")
    page = Page(text)
    assert len(page.scripts) == 2, "nothing that a word says opens or closes a script"
    assert "alert(1)</script>" not in text
    assert not re.search(r"https?://", text)
    sources = [value for _, attrs in page.elements for key, value in attrs.items() if key in ("src", "href")]
    assert sources
    assert all(source and source.startswith("data:") for source in sources)
    assert not any(key.startswith("on") for _, attrs in page.elements for key in attrs)
    policy = next(attrs["content"] for tag, attrs in page.elements if attrs.get("http-equiv"))
    assert policy
    assert policy.startswith("default-src 'none'")
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert all(attrs.get("alt") for tag, attrs in page.elements if tag == "img")
    asked = set(re.findall(r'\$\("([\w-]+)"\)', page.scripts[1]))
    assert asked <= set(ids)


def test_page_holds_words_weights_and_numbers(tmp_path: Path) -> None:
    save_attention(tmp_path / "a.html", generations()["picture"], "x")
    panel = json.loads(Page((tmp_path / "a.html").read_text("utf-8")).scripts[0])["panels"][0]
    assert [step["word"] for step in panel["steps"]] == list(EVIL)
    assert (panel["kind"], panel["rows"], panel["columns"]) == ("grid", 2, 3)
    assert panel["weights"][1] == [0, 0, 0, 0, 0, 1]
    assert panel["peaks"] == [1, 1, 1, 1]
    assert panel["steps"][0]["probability"] == pytest.approx(0.6065, abs=1e-4)
    assert ["entropy", "0.00 bits"] in panel["steps"][0]["facts"]
    assert ["gate", "0.25"] in panel["steps"][0]["facts"]
    assert panel["steps"][1]["strongest"].startswith("row 1 column 2 (1)")


def test_page_scales_the_picture_and_keeps_its_proportions(tmp_path: Path) -> None:
    save_attention(tmp_path / "a.html", on_picture([(0, 0)], (7, 7), Image.new("RGB", (3000, 1500)), ("a",)), "x")
    page = Page((tmp_path / "a.html").read_text("utf-8"))
    source = next(attrs["src"] for tag, attrs in page.elements if tag == "img")
    assert source
    image = Image.open(BytesIO(base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))))
    assert (image.format, image.size) == ("JPEG", (1000, 500))
    assert json.loads(page.scripts[0])["photo"] == {"width": 1000, "height": 500}


def test_page_adds_up_positions_beyond_what_a_screen_shows(tmp_path: Path) -> None:
    save_attention(tmp_path / "a.html", in_time(), "x")
    panel = json.loads(Page((tmp_path / "a.html").read_text("utf-8")).scripts[0])["panels"][0]
    assert panel["columns"] == len(panel["names"]) == len(panel["weights"][0]) == 300
    assert panel["names"][1] == "0.06–0.1s"
    assert panel["marks"][:3] == [[0, "0s"], [33, "2s"], [66, "4s"]]
    assert sum(panel["weights"][0]) == pytest.approx(1, abs=1e-3)


def test_page_has_the_words_of_both_sides(tmp_path: Path) -> None:
    save_attention(tmp_path / "a.html", in_pieces(), "x")
    panel = json.loads(Page((tmp_path / "a.html").read_text("utf-8")).scripts[0])["panels"][0]
    assert (panel["kind"], panel["axis"], panel["name"]) == ("line", "tokens", "source")
    assert [(step["text"], step["word"], step["joined"]) for step in panel["steps"]] == [
        ("learn", "learn", False),
        ("ing", "-ing", True),
        ("-up", "-up", True),
        ("</script>", "</script>", False),
    ]
    assert panel["texts"] == panel["names"] == ["机器", "</script><b>", "x", "学"]
    assert panel["joined"] == [False, False, True, True]
    assert [mark for mark, _ in panel["marks"]] == [0, 1, 2, 3]


# Data


@pytest.mark.parametrize("name", generations())
def test_json_round_trip(tmp_path: Path, name: str) -> None:
    generation = generations()[name]
    save_attention(tmp_path / "a.json", generation, "photo.jpg")
    read = json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert read["input"] == "photo.jpg"
    assert read["output"] == generation.output
    assert read["tokens"] == list(generation.tokens)
    for key, attention in generation.attention.items():
        assert np.array(read["attention"][key]["weights"]) == pytest.approx(attention.weights, abs=1e-6)
        axes = tuple(Axis(axis["name"], axis["kind"], tuple(axis["labels"])) for axis in read["attention"][key]["axes"])
        assert axes == attention.axes


def test_json_has_no_number_that_json_lacks(tmp_path: Path) -> None:
    axes = (Axis("word", "tokens", ("a",)), Axis.numbered("source", "tokens", 2))
    attention = {"a": AttentionMap(np.array([[0, 1]], np.float32), axes)}
    generation = Generation("a", ("a",), np.array([-np.inf], np.float32), float("nan"), attention)
    save_attention(tmp_path / "a.json", generation, "x")
    read = json.loads((tmp_path / "a.json").read_text(), parse_constant=lambda constant: pytest.fail(constant))
    assert read["score"] is None
    assert read["log_probs"] == [None]


@pytest.mark.parametrize("name", generations())
def test_npz_round_trip_without_pickles(tmp_path: Path, name: str) -> None:
    generation = generations()[name]
    save_attention(tmp_path / "a.npz", generation, "photo.jpg")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as read:
        axes = json.loads(str(read["axes"]))
        assert str(read["output"]) == generation.output
        assert tuple(read["tokens"]) == generation.tokens
        for key, attention in generation.attention.items():
            assert (read[f"weights/{key}"] == attention.weights).all()
            assert [tuple(axis["labels"]) for axis in axes[key]] == [axis.labels for axis in attention.axes]
        for key, values in generation.extras.items():
            assert (read[f"extras/{key}"] == values).all()


def test_text_is_what_a_pipe_gets(tmp_path: Path) -> None:
    save_attention(tmp_path / "a.txt", in_hops(), "story.txt")
    text = (tmp_path / "a.txt").read_text("utf-8")
    assert text.startswith("story.txt\nyes\n")
    assert "hop 1" in text
    assert "\x1b" not in text


# What can go wrong


@pytest.mark.parametrize("name", ["a.gif", "a", "a.png.gz"])
def test_unknown_suffixes_are_refused_with_those_known(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        save_attention(tmp_path / name, in_hops(), "x")
    assert caught.value.hint
    assert all(suffix in caught.value.hint for suffix in (".txt", ".png", ".html", ".json", ".npz"))


def test_a_missing_folder_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        save_attention(tmp_path / "missing" / "a.json", in_hops(), "x")


def test_a_folder_of_that_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(UsageError):
        save_attention(tmp_path / "a.json", in_hops(), "x")


def test_nothing_to_save_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no attention"):
        save_attention(tmp_path / "a.json", Generation("x"), "x")
    assert not list(tmp_path.iterdir())


def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CondgenError, match="No space left"):
        save_attention(path, in_hops(), "x")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_existing_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old" * 10_000)
    save_attention(path, in_hops(), "x")
    assert json.loads(path.read_text())["output"] == "yes"
