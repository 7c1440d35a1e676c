"""Attention over the frames of a video: bars in the terminal, film strips in the figure, frames in the page."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.cells import cell_len
from rich.text import Text

from condgen_cli.data.video import Clip
from condgen_cli.generation import AttentionMap, Axis, Generation
from condgen_cli.render import attention_text, entropy_table, save_attention

HUES = ["red", "lime", "blue", "yellow", "cyan", "magenta"]


def over(
    weights: list[list[float]], *, step: float = 1.5, condition: Any = "clip", size: tuple[int, int] = (64, 48)
) -> Generation:
    """Words over frames of one colour each, ``step`` seconds apart."""
    rows = np.array(weights, np.float32)
    words = tuple(f"w{index}" for index in range(len(rows)))
    times = tuple(step * index for index in range(rows.shape[1]))
    frames = tuple(Image.new("RGB", size, HUES[index % len(HUES)]) for index in range(len(times)))
    map = AttentionMap(rows, (Axis("token", "tokens", words), Axis("frame", "frames", times)))
    clip = Clip(frames, times, step * len(times)) if condition == "clip" else condition
    return Generation(" ".join(words), words, attention={"attention": map}, condition=clip)


def charts(text: str) -> list[str]:
    """The drawing without its legend."""
    return text.split("\n\n", 1)[1].split("\n")


# The terminal


def test_every_word_has_a_bar_for_every_frame() -> None:
    lines = charts(attention_text(over([[0.0, 0.25, 0.5, 0.25]]), width=60, color=False))
    assert lines[0] == "w0      0.50"
    assert lines[1:5] == ["      ##", "      ##", "   ## ## ##", "__ ## ## ##"]
    assert lines[5].startswith("0.0s")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp437"])
def test_bars_are_fine_where_the_terminal_has_the_letters(encoding: str) -> None:
    text = attention_text(over([[0.0, 0.25, 0.5]]), width=60, color=True, encoding=encoding)
    plain = Text.from_ansi(text).plain
    assert ("█" in plain) is (encoding != "ascii" and "▁▂▃▄▅▆▇█".encode(encoding, "replace").decode(encoding) == "▁▂▃▄▅▆▇█")
    assert encoding == "utf-8" or plain.isascii() or "▀" in plain


def test_the_strongest_frame_is_a_picture_above_its_bars() -> None:
    text = attention_text(over([[0.1, 0.9, 0.0], [0.0, 0.1, 0.9]]), width=60, color=True)
    picture = next(line for line in text.splitlines() if "▀" in line)
    colours = re.findall(r"38;5;(\d+);", picture)
    assert colours == ["46"] * 12 + ["21"] * 12, "lime above the first word's bars, blue above the second one's"
    assert "▀" not in attention_text(over([[1.0, 0.0]]), width=60, color=False)


@settings(max_examples=30)
@given(st.integers(1, 70), st.integers(1, 6), st.integers(20, 140), st.booleans(), st.floats(0.01, 900))
def test_no_line_is_wider_than_the_terminal(frames: int, words: int, width: int, color: bool, step: float) -> None:
    weights = np.random.default_rng(frames).dirichlet(np.ones(frames), words).tolist()
    text = attention_text(over(weights, step=step, size=(16, 12)), width=width, color=color)
    plain = Text.from_ansi(text).plain if color else text
    assert max(cell_len(line) for line in plain.splitlines()) <= width


def test_times_read_as_a_clock_from_a_minute_on() -> None:
    table = entropy_table(over([[0.2, 0.3, 0.5]], step=1805.0), width=100, color=False)
    assert "1:00:10 0.500, 30:05 0.300, 0.0s 0.200" in table
    assert "0.04s" in entropy_table(over([[0.2, 0.8]], step=0.04), width=100, color=False)


@pytest.mark.parametrize("condition", [None, "a text", Clip((Image.new("RGB", (4, 4)),), (0.0,), 1.0)])
def test_without_the_frames_weights_are_drawn_all_the_same(tmp_path: Path, condition: Any) -> None:
    generation = over([[0.1, 0.9], [0.5, 0.5], [0.2, 0.8], [1.0, 0.0]], condition=condition)
    assert "0.90" in attention_text(generation, width=60, color=False)
    for suffix in ("png", "html"):
        save_attention(tmp_path / f"a.{suffix}", generation, "x")
        assert (tmp_path / f"a.{suffix}").stat().st_size > 1000


# The figure


def test_the_figure_has_a_strip_of_frames_for_every_word(tmp_path: Path) -> None:
    save_attention(tmp_path / "a.png", over([[0.0, 1.0, 0.0], [0.0, 0.5, 0.5]]), "x")
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    plain = {
        name: (pixels == np.array(colour)).all(-1)
        for name, colour in {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255)}.items()
    }
    tops = {name: np.flatnonzero(mask.any(1)).min() for name, mask in plain.items()}
    assert len(set(tops.values())) == 1, "the frames stand in one row above"
    lit = {"lime": (31, 255, 31), "blue": (31, 31, 255), "red": (255, 31, 31)}
    rows = {}
    for name, colour in lit.items():
        mask = (np.abs(pixels - np.array(colour)) <= 2).all(-1)
        rows[name] = int((np.diff(np.flatnonzero(mask.any(1))) > 1).sum() + mask.any())
    assert rows == {"lime": 2, "blue": 1, "red": 0}
    bar = (pixels == np.array((214, 72, 70))).all(-1)
    assert bar.any()
    assert not bar[:, np.flatnonzero(plain["red"].any(0)).max() // 2 : np.flatnonzero(plain["red"].any(0)).max()].any()


# The page


def page_of(path: Path) -> tuple[dict[str, Any], str]:
    text = path.read_text("utf-8")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert data
    return json.loads(data[1])["panels"][0], text


def test_the_page_holds_the_frames_with_their_times(tmp_path: Path) -> None:
    save_attention(tmp_path / "a.html", over([[0.1, 0.9, 0.0], [0.2, 0.2, 0.6]], step=40.0, size=(960, 540)), "x")
    panel, text = page_of(tmp_path / "a.html")
    assert panel["names"] == ["0.0s", "40.0s", "1:20"]
    assert len(panel["frames"]) == 3
    for uri, hue in zip(panel["frames"], [(255, 0, 0), (0, 255, 0), (0, 0, 255)], strict=True):
        with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
            assert image.size == (480, 270)
            assert np.abs(np.array(image.getpixel((9, 9))) - hue).max() < 6
    assert "A word goes to the frame that it was written looking at" in text
    assert "http" not in re.sub(r"http-equiv", "", text)


def test_a_page_without_frames_has_no_film(tmp_path: Path) -> None:
    save_attention(tmp_path / "a.html", over([[0.1, 0.9]], condition=None), "x")
    panel, text = page_of(tmp_path / "a.html")
    assert "frames" not in panel
    assert "A word goes to the frame" not in text
