"""Cutting long recordings at silences while they are read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from condgen_cli.errors import UsageError

__all__ = ["Samples", "Segment", "cut_at_silences"]

Samples = NDArray[np.float32]

_FRAMES = 50
"""Number of frames per second whose loudness is measured."""
_SILENCE = 25
"""Number of consecutive frames without sound that end a segment."""
_PADDING = 10
"""Number of silent frames kept before and after the sound of a segment; twice this number is less than ``_SILENCE``."""
_QUIET = 15
"""Number of frames over which levels are averaged to find the quietest place."""
_AROUND = 15
"""Number of seconds before and after each second from which its threshold of silence is computed."""

# in decibels relative to full scale
_INAUDIBLE = -80.0
"""Anything quieter is silence in any recording."""
_LOUD_NOISE = -35.0
"""Steady sound above this level may be speech without a pause; below it, it is noise."""
_PAUSE = 12.0
"""Minimum difference between loud and quiet frames where there are pauses."""
_RANGE = 50.0
"""Maximum level of quiet frames below the loud ones: digital silence says nothing about the level of speech."""
_ABOVE_FLOOR, _SHARE = 6.0, 0.35
"""Threshold of sound above the quiet frames: this many decibels, or this share of the difference to the loud frames if that is
more."""
_HYSTERESIS = 3.0
"""Decibels below the threshold at which sound that has begun may continue."""


class Segment(NamedTuple):
    """A segment of a recording.

    Args:
        samples: (samples,) mono samples in [-1, 1].
        start, end: times in seconds from the beginning of the recording.
    """

    samples: Samples
    start: float
    end: float


def cut_at_silences(blocks: Iterable[Samples], rate: int, longest: float, whole: float | None = None) -> Iterator[Segment]:
    """The segments of a recording between its silences, in order, each as soon as it is complete.

    A recording of at most ``whole`` seconds is one segment. A longer one is cut at silences of half a second, or else, before a
    segment gets too long, at the quietest place. Silences are dropped except for 0.2 s on either side of sound. A silent
    recording has no segments. The result doesn't depend on how the samples are divided into blocks.

    Args:
        blocks: blocks (samples,) of mono samples in [-1, 1], in order.
        rate: samples per second.
        longest: maximum length of a segment in seconds, at least 1.
        whole: maximum length in seconds of a recording that isn't cut; at most, and by default, ``longest``.
    Raises:
        UsageError: if ``longest`` is below 1.
    """
    if not longest >= 1:
        raise UsageError(f"the maximum length of a segment must be at least 1 second, not {longest}")
    frame = round(rate / _FRAMES)
    limit = int(longest * rate)
    uncut = limit if whole is None else min(limit, int(whole * rate))
    pieces = _pieces(blocks, frame * _FRAMES)
    head: list[Samples] = []
    while sum(map(len, head)) <= uncut:
        piece = next(pieces, None)
        if piece is None:
            yield from _whole_recording(head, rate, frame)
            return
        head.append(piece)

    cutter = _Cutter(limit // frame)
    kept, first = np.zeros(0, np.float32), 0  # samples that may still be needed, and the position of the first

    def segment(begin: int, end: int) -> Segment:
        start, stop = begin * frame, min(end * frame, first + len(kept))
        return Segment(kept[start - first : stop - first].copy(), start / rate, stop / rate)

    for piece, levels, threshold in _find_sound(chain(head, pieces), frame):
        needed = cutter.needed * frame
        kept, first = np.concatenate([kept[needed - first :], piece]), needed
        for level in levels.tolist():
            if stretch := cutter.push(level, threshold):
                yield segment(*stretch)
    if stretch := cutter.finish():
        yield segment(*stretch)


class _Cutter:
    """Finds the ranges of frames that become segments, one frame at a time.

    Args:
        longest: maximum number of frames in a range.
    """

    def __init__(self, longest: int) -> None:
        self.longest = longest
        self.needed = 0
        """First frame that may belong to a later range."""
        self._now = 0
        self._open = False
        self._end = 0  # after the last frame with sound
        self._levels: list[float] = []  # of the frames from ``needed`` on

    def push(self, level: float, threshold: float) -> tuple[int, int] | None:
        """Add the level of the next frame; return the range (first frame, end) that it completes, if any."""
        self._now += 1
        self._levels.append(level)
        if level >= threshold - (_HYSTERESIS if self._open else 0):
            self._open, self._end = True, self._now
        if not self._open:
            self._forget(max(self.needed, self._now - _PADDING))
        elif self._now - self._end >= _SILENCE:
            return self._close(self._end + _PADDING)
        elif self._now - self.needed >= self.longest:
            return self._close(self._quietest())
        return None

    def finish(self) -> tuple[int, int] | None:
        """The range that is completed by the end of the recording, if any."""
        return self._close(self._now) if self._open else None

    def _close(self, cut: int) -> tuple[int, int]:
        stretch = self.needed, min(cut, self._end + _PADDING)
        self._open = self._end > cut
        self._forget(cut)
        return stretch

    def _forget(self, before: int) -> None:
        del self._levels[: before - self.needed]
        self.needed = before

    def _quietest(self) -> int:
        """The middle of the quietest ``_QUIET`` frames in the second half of the open range."""
        half = len(self._levels) // 2
        means = np.convolve(self._levels[half:], np.ones(_QUIET), "valid")
        return self.needed + half + int(means.argmin()) + _QUIET // 2


def _find_sound(pieces: Iterable[Samples], frame: int) -> Iterator[tuple[Samples, NDArray[np.float64], float]]:
    """Pieces of one second, each with the levels of its frames and the threshold of sound.

    The threshold lies between the quiet and the loud frames of the surrounding seconds, so it adapts to changes of speaker or
    room.
    """
    before: deque[NDArray[np.float64]] = deque(maxlen=_AROUND)
    after: deque[tuple[Samples, NDArray[np.float64]]] = deque()
    for piece in chain(pieces, repeat(None, _AROUND)):
        if piece is not None:
            after.append((piece, _levels(piece, frame)))
        if len(after) > _AROUND or (piece is None and after):
            around = np.concatenate([*before, *(levels for _, levels in after)])
            now, levels = after.popleft()
            before.append(levels)
            yield now, levels, _threshold(around)


def _threshold(levels: NDArray[np.float64]) -> float:
    quiet, loud = np.percentile(levels, [10, 95])
    # without a pause nearby, quiet frames are sound as well, unless they are so quiet that everything is silence
    floor = max(quiet, loud - _RANGE) if loud - quiet >= _PAUSE else min(quiet, _LOUD_NOISE)
    return max(floor + max(_SHARE * (loud - floor), _ABOVE_FLOOR), _INAUDIBLE)


def _levels(samples: Samples, frame: int) -> NDArray[np.float64]:
    """Power of the frames in decibels, without DC offset; the last frame may be shorter."""
    whole = len(samples) // frame * frame
    powers = samples[:whole].reshape(-1, frame).var(axis=1, dtype=np.float64)
    if whole < len(samples):
        powers = np.append(powers, samples[whole:].var(dtype=np.float64))
    return 10 * np.log10(powers + 1e-10)


def _whole_recording(pieces: list[Samples], rate: int, frame: int) -> Iterator[Segment]:
    samples = np.concatenate(pieces)
    if len(samples) and _levels(samples, frame).max() >= _INAUDIBLE:
        yield Segment(samples, 0.0, len(samples) / rate)


def _pieces(blocks: Iterable[Samples], size: int) -> Iterator[Samples]:
    """The same samples in pieces of ``size``; the last one may be shorter."""
    rest = np.zeros(0, np.float32)
    for block in blocks:
        rest = np.concatenate([rest, block])
        whole = len(rest) // size * size
        yield from rest[:whole].reshape(-1, size)
        rest = rest[whole:]
    if len(rest):
        yield rest
