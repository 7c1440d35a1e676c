"""Signs that a transcribed sound isn't speech: unchanging sound, few words with flat attention, repeated words.

A speller trained on speech writes words for any sound: tones, music, noise. If no sound belongs to a word, its attention is
flat. That also happens in speech, but then the number of words is that of speech.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from condgen_cli.data.audio import Sound
from condgen_cli.generation import AttentionMap, Generation
from condgen_cli.item import Item

__all__ = ["FLAT", "REPEATED", "STEADY", "find_doubts"]

FLAT = "may not be speech: few words, and attention spread over the whole sound"
STEADY = "may not be speech: it sounds the same throughout"
REPEATED = "may not be speech: the same few words are repeated"

# measured on sounds without speech and on LibriSpeech speakers outside the training data; see docs/architecture.md
_WIDE = 1.5
"""Seconds covered by a token's attention above which it is flat; half a second is usual."""
_SHARE = 0.3
"""Share of a part covered by a token's attention above which it is flat."""
_SHORTEST = 1.5
"""Shortest part in seconds for which that share is used."""
_SLOW = 1.5
"""Words per second below which they are few; a slow reader says two."""
_STEADY = 0.3
"""Standard deviation over time of a band's log power below which a sound isn't speech: tones and noise had less, speech at
least 1.5."""
_WORDS = 6
"""Fewest words for which the share of different words is used."""
_DIFFERENT = 0.5
"""Share of different words below which words are repeated; in speech it is at least 0.7, even in long parts."""


def find_doubts(generation: Generation, item: Item) -> tuple[str, ...]:
    """Reasons to doubt that a part of a recording is speech, without the part's name.

    Args:
        generation: transcript of the part, with attention over time.
        item: item of the part, with its ``start`` and ``end`` in seconds in ``meta``.
    """
    which = "it" if item.parts == 1 else "some of it"
    return tuple(f"{which} {sign}" for sign in _signs(generation, item))


def _signs(generation: Generation, item: Item) -> Iterator[str]:
    seconds = item.meta.get("end", 0.0) - item.meta.get("start", 0.0)
    words = str(generation.output).split()
    covered = _covered_seconds(generation)
    flat = covered is not None and (covered > _WIDE or (seconds >= _SHORTEST and covered > _SHARE * seconds))
    if words and isinstance(item.condition, Sound) and 0 <= _variation(item.condition) < _STEADY:
        yield STEADY
    if flat and len(words) < _SLOW * seconds:
        yield FLAT
    if len(words) >= _WORDS and len(set(words)) < _DIFFERENT * len(words):
        yield REPEATED


def _variation(sound: Sound) -> float:
    """Median over sixteen bands of the standard deviation over time of their log power; -1 for less than half a second."""
    size = sound.rate // 10
    count = len(sound.samples) // size
    if count < 5:
        return -1.0
    power = np.abs(np.fft.rfft(sound.samples[: count * size].reshape(count, size) * np.hanning(size))) ** 2
    edges = np.unique(np.geomspace(size // 160, power.shape[1] - 1, 17).astype(int))
    bands = np.add.reduceat(power, edges[:-1], axis=1)
    return float(np.median(np.log(bands + 1e-5 * bands.max() + 1e-30).std(0)))


def _covered_seconds(generation: Generation) -> float | None:
    """Median over tokens of the seconds that attention covers: 2 to the power of its entropy, times the width of a position."""
    for map in generation.attention.values():
        if [axis.kind for axis in map.positions] == ["time"] and len(map.steps):
            return float(np.median(2.0 ** map.entropy().mean(1))) * _width(map)
    return None


def _width(map: AttentionMap) -> float:
    """Width of a position, in seconds."""
    labels = np.array([float(label) for label in map.positions[0].labels])
    return float(np.diff(labels).mean()) if len(labels) > 1 else 0.0
