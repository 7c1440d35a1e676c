"""Signs that what was written down is no speech: sound that stays the same, few words with attention that is flat, and words
that come over and over.

A speller trained on speech writes words whatever it hears: tones, music, noise. Where there is nothing to listen to for a word,
it listens everywhere at once. It may lose its way so in speech as well, but then it writes as many words as were said.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from condgen_cli.data.audio import Sound
from condgen_cli.generation import AttentionMap, Generation
from condgen_cli.item import Item

__all__ = ["FLAT", "REPEATED", "STEADY", "find_doubts"]

FLAT = "may be no speech: a few words, for which the model listens everywhere at once"
STEADY = "may be no speech: it sounds the same throughout"
REPEATED = "may be no speech: the same few words come over and over"

# measured on what is no speech and on speakers of LibriSpeech who weren't trained on; see docs/architecture.md
_WIDE = 1.5
"""Seconds that a piece's attention covers where it is flat, half a second being usual."""
_SHARE = 0.3
"""The share of a part that it covers where it is flat, if the part is short."""
_SHORTEST = 1.5
"""Seconds of a part below which that share says nothing."""
_SLOW = 1.5
"""Words a second below which they are few; a slow reader says two."""
_STEADY = 0.3
"""Standard deviation over time of a band's log power below which nothing is said: tones and noise had less, speech 1.5 at
least."""
_WORDS = 6
"""Words from which on it is counted how many are different."""
_DIFFERENT = 0.5
"""Share of the words that are different; in speech it is 0.7 and more, even in long parts."""


def find_doubts(generation: Generation, item: Item) -> tuple[str, ...]:
    """Why the words of a part may not have been said, a line each, without the part's name.

    Args:
        generation: of one part of a recording, with attention over time.
        item: with ``start`` and ``end`` of the part in ``meta``, in seconds.
    """
    which = "it" if item.parts == 1 else "some of it"
    return tuple(f"{which} {told}" for told in _signs(generation, item))


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
    """How much a sound changes: the standard deviation over time of the log power in a band, the median of sixteen bands; -1
    for one of less than half a second."""
    size = sound.rate // 10
    count = len(sound.samples) // size
    if count < 5:
        return -1.0
    power = np.abs(np.fft.rfft(sound.samples[: count * size].reshape(count, size) * np.hanning(size))) ** 2
    edges = np.unique(np.geomspace(size // 160, power.shape[1] - 1, 17).astype(int))
    bands = np.add.reduceat(power, edges[:-1], axis=1)
    return float(np.median(np.log(bands + 1e-5 * bands.max() + 1e-30).std(0)))


def _covered_seconds(generation: Generation) -> float | None:
    """Seconds that a piece's attention is spread over, as many as if it was the same over them; the median of the pieces."""
    for map in generation.attention.values():
        if [axis.kind for axis in map.positions] == ["time"] and len(map.steps):
            return float(np.median(2.0 ** map.entropy().mean(1))) * _width(map)
    return None


def _width(map: AttentionMap) -> float:
    """Seconds of a position."""
    labels = np.array([float(label) for label in map.positions[0].labels])
    return float(np.diff(labels).mean()) if len(labels) > 1 else 0.0
