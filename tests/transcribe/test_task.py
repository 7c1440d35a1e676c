"""How recordings become parts, when their words were said, and subtitles made of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import condgen_transcribe
from condgen_cli.errors import InputError
from condgen_cli.generation import AttentionMap, Axis, Generation, join
from condgen_cli.item import Item
from condgen_cli.testing import check_plugin
from condgen_transcribe.subtitles import Word, align, make_cues, srt, time_words, vtt
from condgen_transcribe.task import read

RATE = 8000


def test_the_plugin_keeps_the_contract() -> None:
    check_plugin(condgen_transcribe)


def speech(*seconds: float) -> NDArray[np.float32]:
    """Noise of these lengths with a second of silence after each."""
    rng = np.random.default_rng(0)
    pieces = [np.append(rng.normal(0, 0.1, int(RATE * length)), np.zeros(RATE)) for length in seconds]
    return np.concatenate(pieces).astype(np.float32)


def test_a_short_recording_is_one_item(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", speech(2, 2), RATE)
    (item,) = read(str(tmp_path / "a.wav"))
    assert (item.part, item.parts, item.meta) == (0, 1, {"start": 0.0, "end": 6.0, "duration": 6.0})
    assert item.source == str(tmp_path / "a.wav")


def test_parts_say_whether_another_follows(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", speech(8, 9, 10), RATE)
    items = list(read(str(tmp_path / "a.wav")))
    assert [(item.part, item.part + 1 < item.parts) for item in items] == [(0, True), (1, True), (2, False)]
    assert all(left.meta["end"] <= right.meta["start"] for left, right in pairwise(items))


def test_a_silent_recording_has_no_parts(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(3 * RATE, np.float32), RATE)
    (item,) = read(str(tmp_path / "a.wav"))
    assert (item.parts, item.source) == (0, str(tmp_path / "a.wav"))


def test_what_is_left_of_a_damaged_recording_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, speech(*[9] * 12), RATE)
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 4 : len(data) * 3 // 4 + 4000] = b"\0" * 4000
    path.write_bytes(data)
    items = list(read(str(path)))
    assert items[-1].meta["end"] == pytest.approx(120, abs=2)
    (warning,) = items[-1].warnings
    assert warning.startswith("damaged: ")
    assert not any(item.warnings for item in items[:-1])


def generation(pieces: Sequence[str], weights: Any, start: float = 0.0, width: float = 0.1) -> Generation:
    """A transcript whose pieces look at positions of ``width`` seconds."""
    weights = np.asarray(weights, np.float32)
    seconds = Axis("time", "time", tuple(start + width * place for place in range(weights.shape[-1])))
    heads = (Axis.numbered("head", "heads", weights.shape[1]),) if weights.ndim == 3 else ()
    attention = {"attention": AttentionMap(weights, (Axis("token", "tokens", tuple(pieces)), *heads, seconds))}
    return Generation("".join(pieces).replace("<eos>", "").replace("▁", " ").strip(), tuple(pieces), attention=attention)


def looks_at(positions: Sequence[int], count: int) -> NDArray[np.float64]:
    return np.eye(count)[list(positions)]


def item(end: float = 100.0) -> Item:
    return Item("a", None, meta={"start": 0.0, "end": end})


def test_a_word_lasts_from_its_first_piece_to_its_last() -> None:
    pieces = ["▁go", "od", "▁", "d", "a", "y", "<eos>"]
    found = time_words(generation(pieces, looks_at([1, 3, 5, 6, 7, 8, 0], 10), start=20), item())
    assert found == [Word(word="good", start=20.1, end=20.4), Word(word="day", start=20.6, end=20.9)]


def test_words_at_one_position_follow_one_another() -> None:
    found = time_words(generation(["▁a", "▁b", "▁c", "▁d"], looks_at([2, 2, 2, 2], 4), width=0.4), item())
    assert [(word["start"], word["end"]) for word in found] == [(0.8, 0.9), (0.9, 1.0), (1.0, 1.1), (1.1, 1.21)]


def test_words_are_not_squeezed_into_a_place_that_attention_stays_in() -> None:
    said = ["▁BE", "GAN", "▁TO", "▁SPEAK", "▁THEIR", "▁MIN", "DS"]
    found = time_words(generation(["▁THE", "▁COUNTRY", *said], looks_at([2, 10, *[96] * 7], 100), width=0.04), item(end=3.95))
    assert [(word["start"], word["word"]) for word in found][:2] == [(0.08, "THE"), (0.4, "COUNTRY")]
    for word, following in pairwise(found):
        assert word["end"] <= following["start"]
    assert all(word["end"] - word["start"] > 0.015 * len(word["word"]) for word in found)
    assert found[2]["start"] > 3.1, "no further from where they are heard than they need"
    assert found[-1]["end"] <= 3.95


def test_a_word_lasts_as_long_as_usual_if_there_is_room() -> None:
    found = time_words(generation(["▁THE", "▁END", "<eos>"], looks_at([0, 4, 8], 40), width=0.04), item(end=0.3))
    assert [(word["start"], word["end"]) for word in found] == [(0.0, 0.16), (0.16, 0.3)]
    (word,) = time_words(generation(["▁THE"], looks_at([0], 40), width=0.04), item())
    assert word["end"] == pytest.approx(0.23)


def test_a_part_too_short_for_its_words_is_shared() -> None:
    found = time_words(generation(["▁EXTRAORDINARY"] * 9, looks_at([0] * 9, 10), width=0.04), item(end=0.4))
    times = [time for word in found for time in (word["start"], word["end"])]
    assert times == sorted(times)
    assert all(word["start"] < word["end"] for word in found)


def test_a_piece_that_looks_astray_stays_between_its_neighbours() -> None:
    weights = 0.9 * looks_at([1, 4, 0, 7], 10) + 0.01
    weights[2, 5] = 0.3
    starts = [word["start"] for word in time_words(generation(["▁a", "▁b", "▁c", "▁d"], weights), item())]
    assert starts == [0.1, 0.4, 0.5, 0.7]


def test_words_end_with_their_part() -> None:
    (word,) = time_words(generation(["▁a", "b"], looks_at([0, 3], 4)), item(end=0.35))
    assert word == {"word": "ab", "start": 0.0, "end": 0.35}


def test_heads_are_averaged() -> None:
    weights = np.stack([looks_at([0, 0], 5), looks_at([1, 3], 5), looks_at([1, 3], 5)], 1)
    assert [word["start"] for word in time_words(generation(["▁a", "▁b"], weights), item())] == [0.1, 0.3]


def test_without_attention_over_time_there_are_no_words() -> None:
    assert time_words(Generation(""), item()) == []
    slots = AttentionMap(np.eye(1, dtype=np.float32), (Axis.numbered("token", "tokens", 1), Axis.numbered("s", "slots", 1)))
    assert time_words(Generation("a", ("▁a",), attention={"attention": slots}), item()) == []
    assert time_words(generation(["<eos>"], [[1.0]]), item()) == []


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**32 - 1), st.lists(st.integers(0, 2), min_size=4, max_size=4))
def test_the_best_path_is_the_exhaustive_one(steps: int, positions: int, seed: int, least: list[int]) -> None:
    weights = np.random.default_rng(seed).random((steps, positions)) ** 4
    least = least[:steps]
    least[-1] = max(least[-1], 1)
    least = least if sum(least) <= positions else [0] * (steps - 1) + [1]
    path = align(weights, least)

    def allowed(places: Sequence[int]) -> bool:
        ends = [*places[1:], positions]
        return all(place + apart <= end for place, apart, end in zip(places, least, ends, strict=True))

    def gain(places: Sequence[int]) -> float:
        strays = np.abs(np.array(places) - weights.argmax(1)).sum()
        return float(np.log(weights[range(steps), list(places)] + 1e-6).sum() - 0.05 * strays)

    ordered = (path for path in product(range(positions), repeat=steps) if all(a <= b for a, b in pairwise(path)))
    paths = filter(allowed, ordered)
    assert all(a <= b for a, b in pairwise(path))
    assert allowed(path.tolist())
    assert gain(path) == pytest.approx(max(map(gain, paths)))


PIECES = st.lists(st.sampled_from(["▁", "▁the", "▁a", "s", "'", "<unk>", "x"]), max_size=40)


@given(PIECES, st.integers(1, 60), st.integers(0, 2**32 - 1), st.floats(0, 30))
def test_words_are_the_transcript_in_order(pieces: list[str], positions: int, seed: int, start: float) -> None:
    weights = np.random.default_rng(seed).dirichlet(np.full(positions, 0.1), len(pieces) + 1)
    end = start + 0.1 * positions - 0.05
    found = time_words(generation([*pieces, "<eos>"], weights, start), item(end))
    text = "".join(pieces).replace("<unk>", "⁇").replace("▁", " ").split()
    assert [word["word"] for word in found] == text
    times = [time for word in found for time in (word["start"], word["end"])]
    assert times == sorted(times)
    assert all(start - 0.001 <= time <= end + 0.001 for time in times)


def transcript(*said: tuple[str, float, float]) -> Generation:
    found = [Word(word=word, start=start, end=end) for word, start, end in said]
    return Generation(" ".join(word["word"] for word in found), details={"words": found})


def test_a_pause_or_a_part_s_end_ends_a_cue() -> None:
    parts = [transcript(("ONE", 1.0, 1.2), ("TWO", 1.3, 2.5), ("THREE", 4.0, 5.5)), transcript(("FOUR", 5.6, 5.7))]
    assert [tuple(cue) for cue in make_cues(parts)] == [(1000, 2500, "ONE TWO"), (4000, 5500, "THREE"), (5600, 6600, "FOUR")]


def test_a_cue_is_shown_for_a_second_unless_the_next_one_begins() -> None:
    found = [
        tuple(cue)[:2]
        for cue in make_cues([transcript(("A", 0.0, 0.1)), transcript(("B", 0.5, 0.6)), transcript(("C", 3.0, 12))])
    ]
    assert found == [(0, 500), (500, 1500), (3000, 10000)]


def test_subrip() -> None:
    parts = [transcript(("HELLO", 0.25, 1.5)), transcript(("BYE", 3725.5, 3727.0))]
    assert "".join(srt(parts)) == ("1\n00:00:00,250 --> 00:00:01,500\nHELLO\n\n2\n01:02:05,500 --> 01:02:07,000\nBYE\n\n")
    assert "".join(srt([transcript()])) == ""


def test_webvtt() -> None:
    assert "".join(vtt([transcript(("<R&D>", 0.0, 2.0))])) == ("WEBVTT\n\n00:00:00.000 --> 00:00:02.000\n&lt;R&amp;D&gt;\n\n")
    assert "".join(vtt([])) == "WEBVTT\n\n"


def test_cues_come_with_their_parts() -> None:
    asked: list[int] = []

    def parts() -> Iterator[Generation]:
        for number in range(3):
            asked.append(number)
            yield transcript(
                (f"A{number}", 10.0 * number, 10.0 * number + 2), (f"B{number}", 10.0 * number + 5, 10.0 * number + 6)
            )

    found = srt(parts())
    assert "A0" in next(found)
    assert asked == [0]
    assert "B0" in next(found)
    assert asked == [0, 1]


def test_words_without_times_make_no_subtitles() -> None:
    with pytest.raises(InputError, match="have no times"):
        list(srt([Generation("HELLO", details={"words": []})]))


SAID = st.lists(st.tuples(st.text("AZ'<", min_size=1, max_size=50), st.floats(0, 2), st.floats(0, 2)), max_size=60)


@given(st.lists(SAID, max_size=3))
def test_cues_hold_every_word_once(parts: list[list[tuple[str, float, float]]]) -> None:
    now, made = 0.0, []
    for part in parts:
        said = []
        for word, pause, length in part:
            said.append((word, now + pause, now + pause + length))
            now += pause + length
        made.append(transcript(*said))
    found = list(make_cues(made))
    assert " ".join(cue.text for cue in found).split() == [word["word"] for one in made for word in one.details["words"]]
    for cue in found:
        lines = cue.text.split("\n")
        assert len(lines) <= 2
        assert all(len(line) <= 42 or " " not in line for line in lines)
        assert 0 <= cue.end - cue.start <= 7000
    assert all(left.end <= right.start for left, right in pairwise(found))
    blocks = re.findall(r"(\d+)\n([\d:,]+) --> ([\d:,]+)\n((?:.+\n)+)\n", "".join(srt(made)))
    assert [block[3].rstrip("\n") for block in blocks] == [cue.text for cue in found]


def test_words_of_parts_follow_one_another() -> None:
    first, second = transcript(("A", 0.0, 1.0)), transcript(("B", 2.0, 3.0), ("C", 3.0, 4.0))
    assert [word["word"] for word in join([first, second]).details["words"]] == ["A", "B", "C"]
