"""Attention over a sound: in the terminal, as a figure, as a page."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.cells import cell_len
from rich.text import Text

from condgen_cli.data.audio import Sound
from condgen_cli.generation import AttentionMap, Axis, Generation
from condgen_cli.render import attention_text, save_attention
from condgen_cli.render.panels import panels
from condgen_cli.render.sound import BANDS, Track, track

RATE = 16_000
POSITION = 0.04


def over(sound: object, positions: int, *, steps: tuple[str, ...] = ("▁he", "ar"), start: float = 0.0) -> Generation:
    """Step k listens to position k alone, the last of more steps than positions to the last one."""
    weights = np.zeros((len(steps), positions), np.float32)
    weights[np.arange(len(steps)), np.arange(len(steps)).clip(0, positions - 1)] = 1
    labels = tuple(start + POSITION * place for place in range(positions))
    attention = AttentionMap(weights, (Axis("token", "tokens", steps), Axis("time", "time", labels)))
    return Generation("hear", steps, attention={"attention": attention}, condition=sound)


def bursts(loud: list[float], seconds: float = POSITION) -> Sound:
    """A tone of 1 kHz, of one amplitude after another for so many seconds each."""
    times = np.arange(round(len(loud) * seconds * RATE)) / RATE
    amplitudes = np.array(loud)[(times / seconds).astype(int).clip(0, len(loud) - 1)]
    return Sound((amplitudes * np.sin(2 * np.pi * 1000 * times)).astype(np.float32), RATE)


def drawn(generation: Generation) -> Track | None:
    return track(panels(generation)[0], generation)


def body(text: str) -> list[str]:
    return text.split("\n\n", 1)[1].splitlines()


# Terminal


def test_energy_stands_above_the_positions_where_the_sound_is_loud() -> None:
    sound = bursts([0.0, 0.8, 0.0, 0.08, 0.0, 0.8])
    rows = body(attention_text(over(sound, 6, steps=("▁a", "▁b", "▁c")), width=60, color=False))
    assert rows[0].rstrip() == "    " + "@@  ++  @@" or rows[0].rstrip() == "    " + "@@  ==  @@"
    assert rows[1].startswith("a|@@ ")
    assert rows[2].startswith("b|  @@ ")
    assert rows[0].index("@") == rows[2].index("@"), "the loud column is the one that the second step listens to"


def test_energy_is_bars_where_the_terminal_has_them_and_ascii_elsewhere() -> None:
    generation = over(bursts([0.0, 0.8, 0.05, 0.8]), 4)
    bars = body(Text.from_ansi(attention_text(generation, width=60, color=True)).plain)[0]
    assert re.fullmatch(r" +██[▂▃▄▅]{2}██", bars.rstrip())
    for encoding in ("ascii", "cp437"):
        text = Text.from_ansi(attention_text(generation, width=60, color=True, encoding=encoding)).plain
        assert text.isascii()
    assert attention_text(generation, width=60, color=False).isascii()


def test_the_legend_says_how_long_a_column_is() -> None:
    few = " ".join(attention_text(over(bursts([0.5] * 10), 10), width=60, color=False).split())
    assert "A column lasts 0.04 s." in few
    assert '"-" goes on with the word before.' in few
    many = " ".join(attention_text(over(bursts([0.5] * 200), 200), width=60, color=False).split())
    assert "Each column adds up 5 positions, 0.2 s." in many


def test_seconds_stand_at_their_columns_above_and_below_many_steps() -> None:
    steps = tuple("abcdefghijklmnopqrstuvwxyz")
    rows = body(attention_text(over(bursts([0.5] * 50), 50, steps=steps, start=3.0), width=70, color=False))
    assert rows[0] == rows[-1]
    first = rows[2].index("|") + 1
    for second in re.findall(r"[\d.]+(?=s)", rows[0]):
        assert rows[0].index(f"{second}s") - first == int((float(second) - 3.0) / POSITION + 1e-6)
    assert len(rows) == 26 + 3


@settings(max_examples=40)
@given(
    st.integers(1, 400),
    st.lists(st.text(max_size=6) | st.sampled_from(["▁the", "ing", "日本", "<eos>"]), min_size=1, max_size=30),
    st.integers(0, 40_000),
    st.integers(20, 140),
    st.booleans(),
)
def test_no_line_is_wider_than_the_terminal(positions: int, steps: list[str], samples: int, width: int, color: bool) -> None:
    sound = Sound(np.random.default_rng(0).uniform(-1, 1, samples).astype(np.float32), RATE)
    text = attention_text(over(sound, positions, steps=tuple(steps)), width=width, color=color)
    lines = Text.from_ansi(text).plain.splitlines() if color else text.split("\n")
    assert max(map(cell_len, lines)) <= width


# The track


@settings(max_examples=60)
@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=30), st.integers(1, 5))
def test_a_louder_column_is_higher(amplitudes: list[float], size: int) -> None:
    found = drawn(over(bursts(amplitudes), len(amplitudes)))
    assert found
    loudness = found.loudness(size)
    powers = [np.mean(np.square(amplitudes[start : start + size])) for start in range(0, len(amplitudes), size)]
    assert len(loudness) == len(powers)
    assert loudness.max() == pytest.approx(1)
    order = np.argsort(powers)
    assert (np.diff(loudness[order]) >= -1e-3).all()


def test_silence_is_silent_and_without_sound_comes_nothing() -> None:
    found = drawn(over(Sound(np.zeros(RATE, np.float32), RATE), 25))
    assert found
    assert not found.loudness(1).any()
    assert (np.asarray(found.spectrogram(1, 100)) == 255).all()


@pytest.mark.parametrize("positions", [1, 7])
def test_a_sound_shorter_than_its_positions_ends_in_silence(positions: int) -> None:
    found = drawn(over(Sound(np.full(100, 0.5, np.float32), RATE), positions))
    assert found
    assert found.loudness(1).tolist() == [1.0] + [0.0] * (positions - 1)
    assert found.spectrogram(1, 50).size == (50, BANDS)


@pytest.mark.parametrize(
    "condition",
    [
        None,
        "text",
        np.zeros(RATE, np.float32),
        Sound(np.zeros(0, np.float32), RATE),
        Sound(np.full(9, np.nan, np.float32), RATE),
        Sound(np.zeros(RATE, np.float32), 0),
    ],
)
def test_what_is_no_sound_is_drawn_without_one(tmp_path: Path, condition: object) -> None:
    generation, bare = over(condition, 40), over(None, 40)
    assert attention_text(generation, width=70, color=True) == attention_text(bare, width=70, color=True)
    for name in ("a.png", "a.html"):
        save_attention(tmp_path / name, generation, "x")
        with_condition = (tmp_path / name).read_bytes()
        save_attention(tmp_path / name, bare, "x")
        assert (tmp_path / name).read_bytes() == with_condition


def test_positions_that_dont_follow_one_another_have_no_sound() -> None:
    generation = over(bursts([0.5] * 4), 4)
    map = generation.attention["attention"]
    axis = Axis("time", "time", (0.0, 0.04, 0.04, 0.08))
    joined = Generation("x", attention={"a": AttentionMap(map.weights, (map.steps, axis))}, condition=generation.condition)
    assert drawn(joined) is None


# PNG


def chirp(seconds: float) -> Sound:
    """1 kHz for the first half, 4 kHz in the last quarter, silence between."""
    times = np.arange(round(seconds * RATE)) / RATE
    tone = np.where(times < seconds / 2, np.sin(2 * np.pi * 1000 * times), np.sin(2 * np.pi * 4000 * times))
    return Sound((0.5 * tone * ((times < seconds / 2) | (times >= seconds * 0.75))).astype(np.float32), RATE)


@pytest.mark.parametrize("positions", [50, 2500])
def test_spectrogram_is_above_the_matrix_and_aligned_with_it(tmp_path: Path, positions: int) -> None:
    seconds = positions * POSITION
    generation = over(chirp(seconds), positions, steps=tuple("abcd"))
    weights = np.zeros((4, positions), np.float32)
    weights[:, positions // 2 : positions * 3 // 4] = 1
    axes = generation.attention["attention"].axes
    save_attention(
        tmp_path / "a.png",
        Generation("x", attention={"a": AttentionMap(weights, axes)}, condition=generation.condition),
        "",
    )
    sheet = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    bright = np.argwhere((sheet == (252, 252, 190)).all(-1))
    (top, left), (_, right) = bright.min(0), bright.max(0) + 1
    width = 4 * (right - left)
    assert width > 800
    dark = sheet[: top - 4].max(-1) < 100
    # in the silence, between the clicks with which tones begin and end
    margin = width // 40
    above = slice(top - 8 - 2 * BANDS, top - 10)
    assert not dark[above, left + margin : right - margin].any()
    low = dark[above, left - width // 2 + margin : left - margin]
    high = dark[above, right + margin : right + width // 4 - margin]
    assert low.any(0).all()
    assert high.any(0).all()
    assert np.argwhere(low)[:, 0].mean() > np.argwhere(high)[:, 0].mean() + 20, "high frequencies are above"


def test_a_tone_stands_at_its_frequency() -> None:
    from condgen_cli.render.sound import kilohertz

    for place, name in kilohertz(RATE):
        frequency = 1000 * float(name.split()[0])
        tone = np.sin(2 * np.pi * frequency * np.arange(RATE) / RATE).astype(np.float32) / 2
        found = drawn(over(Sound(tone, RATE), 25))
        assert found
        row = np.asarray(found.spectrogram(1, 100)).mean(1).argmin()
        assert (row + 0.5) / BANDS == pytest.approx(1 - place, abs=1.5 / BANDS)


# HTML


def read_page(path: Path) -> tuple[dict, str | None, str]:
    text = path.read_text("utf-8")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert data
    found = re.search(r'<audio id="sound"[^>]* src="data:audio/flac;base64,([^"]+)"', text)
    return json.loads(data[1])["panels"][0], found and found[1], text


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_page_holds_the_sound_as_it_is(tmp_path: Path, rate: int) -> None:
    samples = np.random.default_rng(0).integers(-32768, 32768, rate, dtype=np.int16)
    generation = over(Sound((samples / 32768).astype(np.float32), rate), 25)
    save_attention(tmp_path / "a.html", generation, "x")
    _, flac, text = read_page(tmp_path / "a.html")
    assert flac
    read, found_rate = soundfile.read(io.BytesIO(base64.b64decode(flac)), dtype="int16")
    assert found_rate == rate
    assert (read == samples).all()
    assert "media-src data:" in text


def test_channels_are_averaged_and_full_scale_stays() -> None:
    found = drawn(over(Sound(np.array([[1.0, 0.0], [1.0, 1.0], [-1.0, -1.0]], np.float32), RATE), 1))
    assert found
    read, _ = soundfile.read(io.BytesIO(found.flac()), dtype="int16")
    assert read.tolist() == [16384, 32767, -32768]


def test_page_of_ten_seconds_stays_small(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, 10 * RATE).clip(-1, 1).astype(np.float32)
    save_attention(tmp_path / "a.html", over(Sound(noise, RATE), 250), "x")
    _, flac, _ = read_page(tmp_path / "a.html")
    assert flac
    assert len(flac) < 500_000


def test_page_knows_when_columns_begin_in_the_sound(tmp_path: Path) -> None:
    save_attention(tmp_path / "a.html", over(bursts([0.5] * 900), 900, start=60.0), "x")
    panel, _, text = read_page(tmp_path / "a.html")
    assert panel["columns"] == 300
    assert panel["edges"] == pytest.approx([0.12 * column for column in range(301)], abs=1e-3)
    assert panel["names"][0] == "60–60.08s"
    with Image.open(io.BytesIO(base64.b64decode(panel["spectrogram"].partition(",")[2]))) as image:
        assert image.size[1] == BANDS
    assert 'id="cursor"' in text
    assert "requestAnimationFrame(tick)" in text


def test_page_leaves_out_what_is_too_long_to_embed(tmp_path: Path) -> None:
    long = Sound(np.zeros(181 * 1000, np.float32), 1000)
    save_attention(tmp_path / "a.html", over(long, 4500), "x")
    panel, flac, _ = read_page(tmp_path / "a.html")
    assert flac is None
    assert "spectrogram" in panel
