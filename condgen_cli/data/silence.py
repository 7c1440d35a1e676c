"""Long recordings cut at their silences, while they are read."""

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
"""Frames a second whose loudness is measured."""
_SILENCE = 25
"""Frames in a row without sound that end a segment."""
_PADDING = 10
"""Frames before and after what is heard that belong to a segment; twice as many are fewer than ``_SILENCE``."""
_QUIET = 15
"""Frames over which the quietest place is looked for."""
_AROUND = 15
"""Seconds before and after a second that decide what counts as silence in it."""

# in decibels, 0 being full scale
_INAUDIBLE = -80.0
"""What is quieter is silence in any recording."""
_LOUD_NOISE = -35.0
"""Steady sound louder than this may be speech without a pause; what is quieter is noise."""
_PAUSE = 12.0
"""How far loud and quiet frames are apart where there are pauses."""
_RANGE = 50.0
"""How far the quiet frames count below the loud ones: digital silence says nothing of the level of speech."""
_ABOVE_FLOOR, _SHARE = 6.0, 0.35
"""How far above the quiet frames sound begins: so many decibels, or this share of the way to the loud ones if that is more."""
_HYSTERESIS = 3.0
"""How much quieter than it began sound may go on."""


class Segment(NamedTuple):
    """A part of a recording.

    Args:
        samples: (samples,), mono, in [-1, 1].
        start, end: in seconds from the recording's beginning.
    """

    samples: Samples
    start: float
    end: float


def cut_at_silences(blocks: Iterable[Samples], rate: int, longest: float, whole: float | None = None) -> Iterator[Segment]:
    """The parts of a recording between its silences, in order, each as soon as it is known.

    A recording of at most ``whole`` seconds comes whole. A longer one is cut where nothing is heard for half a second, and at
    the quietest place where that doesn't happen in time. Silences are left out but for 0.2 s on either side of what is heard.
    A recording in which nothing is heard gives no segment. How the samples are cut into blocks doesn't matter.

    Args:
        blocks: the recording's samples in order, mono, in [-1, 1].
        rate: samples a second.
        longest: seconds that a segment may last; 1 or more.
        whole: default, and at most: ``longest``.
    Raises:
        UsageError: if ``longest`` is below 1.
    """
    if not longest >= 1:
        raise UsageError(f"a segment must be allowed to last 1 second, not only {longest}")
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
    kept, first = np.zeros(0, np.float32), 0  # the samples that may still be needed, and where they begin

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
    """Finds the stretches of frames that make segments, a frame at a time.

    Args:
        longest: frames of a stretch.
    """

    def __init__(self, longest: int) -> None:
        self.longest = longest
        self.needed = 0
        """Frames before this one belong to no later stretch."""
        self._now = 0
        self._open = False
        self._end = 0  # after the last frame with sound
        self._levels: list[float] = []  # of the frames from ``needed`` on

    def push(self, level: float, threshold: float) -> tuple[int, int] | None:
        """Take the next frame's level; the stretch that is complete with it, as its first frame and the one after its last."""
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
        """The stretch that the recording's end completes, if one is open."""
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
        """The middle of the quietest ``_QUIET`` frames in the open stretch's second half."""
        half = len(self._levels) // 2
        means = np.convolve(self._levels[half:], np.ones(_QUIET), "valid")
        return self.needed + half + int(means.argmin()) + _QUIET // 2


def _find_sound(pieces: Iterable[Samples], frame: int) -> Iterator[tuple[Samples, NDArray[np.float64], float]]:
    """Pieces of a second with the levels of their frames and the level from which these are sound.

    The level is found between the quiet and the loud frames of the seconds around it, so a change of speaker or room moves it.
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
    # without a pause near by the quiet frames are sound as well, unless they are so quiet that all is silence
    floor = max(quiet, loud - _RANGE) if loud - quiet >= _PAUSE else min(quiet, _LOUD_NOISE)
    return max(floor + max(_SHARE * (loud - floor), _ABOVE_FLOOR), _INAUDIBLE)


def _levels(samples: Samples, frame: int) -> NDArray[np.float64]:
    """Power of the frames in decibels, a constant offset left out; the last frame may be shorter."""
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
    """The same samples in pieces of ``size``, the last one shorter."""
    rest = np.zeros(0, np.float32)
    for block in blocks:
        rest = np.concatenate([rest, block])
        whole = len(rest) // size * size
        yield from rest[:whole].reshape(-1, size)
        rest = rest[whole:]
    if len(rest):
        yield rest
