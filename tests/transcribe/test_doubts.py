"""What is written down for tones and noise is warned of, and speech isn't."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from condgen_cli.data.audio import Sound
from condgen_cli.generation import AttentionMap, Axis, Generation, join
from condgen_cli.item import Item
from condgen_transcribe.doubts import FLAT, REPEATED, STEADY, find_doubts

WIDTH = 0.04


def part(text: str, seconds: float, spread: float, parts: int = 1) -> tuple[Generation, Item]:
    """Words that each look at ``spread`` seconds somewhere in a part."""
    words, positions = text.split(), round(seconds / WIDTH)
    rng = np.random.default_rng(0)
    weights = np.zeros((len(words), positions), np.float32)
    for row in weights:
        width = max(round(spread / WIDTH), 1)
        start = rng.integers(max(positions - width, 1))
        row[start : start + width] = 1 / width
    axes = (Axis("token", "tokens", tuple(words)), Axis("time", "time", tuple(WIDTH * place for place in range(positions))))
    generation = Generation(text, tuple(words), attention={"attention": AttentionMap(weights, axes)})
    return generation, Item("a", None, parts=parts, meta={"start": 5.0, "end": 5.0 + seconds})


SPEECH = "THE INFUSION OF ONE INGREDIENT IN TOO LARGE A PROPORTION HAD CORRUPTED ALL THESE NOBLE PRINCIPLES"


@pytest.mark.parametrize(
    ("text", "seconds", "spread", "signs"),
    [
        (SPEECH, 6.4, 0.45, ()),
        (SPEECH, 6.4, 5.0, ()),  # attention has lost its way, but as many words are written as somebody says
        ("YES", 5.0, 0.4, ()),
        ("YES", 0.7, 0.4, ()),
        ("NO NO NO", 2.0, 0.4, ()),
        ("I AM", 3.0, 1.1, (FLAT,)),
        ("AYE AYE", 15.0, 11.0, (FLAT,)),
        ("AYE " * 23, 10.0, 9.0, (REPEATED,)),
        ("I AM " * 5, 10.0, 8.0, (FLAT, REPEATED)),
        ("THE FIFTY " + "FIFTY " * 20, 8.0, 0.2, (REPEATED,)),
    ],
)
def test_signs(text: str, seconds: float, spread: float, signs: tuple[str, ...]) -> None:
    assert find_doubts(*part(text, seconds, spread)) == tuple(f"it {sign}" for sign in signs)
    assert find_doubts(*part(text, seconds, spread, parts=3)) == tuple(f"some of it {sign}" for sign in signs)


@pytest.mark.parametrize("seconds", [1, 2, 5])
def test_sound_that_stays_the_same_is_no_speech(seconds: int) -> None:
    time = np.arange(seconds * 16_000) / 16_000
    noise = np.random.default_rng(0).normal(size=len(time))
    tone = np.sin(2 * np.pi * 440 * time)
    steady = [
        tone * 0.3,
        tone * 0.01,
        noise * 0.1,
        tone * 0.3 + noise * 0.01,
        sum(np.sin(k * time) for k in (1600, 2000, 2400)) * 0.1,
    ]
    for samples in steady:
        item = Item("a", Sound(samples.astype(np.float32), 16_000))
        assert find_doubts(Generation("FIFTY FEET"), item) == (f"it {STEADY}",)
        assert find_doubts(Generation(""), item) == ()
    spoken = noise * np.sin(2 * np.pi * 3 * time) ** 8  # syllables come and go
    assert find_doubts(Generation("FIFTY FEET"), Item("a", Sound(spoken.astype(np.float32), 16_000))) == ()


def test_without_attention_over_time_only_words_tell() -> None:
    item: Any = Item("a", None, meta={"start": 0.0, "end": 9.0})
    assert find_doubts(Generation("AYE"), item) == ()
    assert find_doubts(Generation("AYE " * 9), item) == (f"it {REPEATED}",)


def test_a_warning_of_several_parts_is_told_once() -> None:
    told = Generation("A", warnings=("some of it is odd",))
    assert join([told, told, Generation("B", warnings=("cut short",))]).warnings == ("some of it is odd", "cut short")
