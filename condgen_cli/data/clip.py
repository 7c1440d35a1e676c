"""Clips: frames of a video with their times, sampled evenly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["FRAME_SIDE", "Clip", "ClipSource", "even_moments", "evenly"]

FRAME_SIDE = 360
"""Maximum length of a frame's shorter side in pixels; larger frames are scaled down."""


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames of a video, in order.

    Args:
        frames: upright RGB images of one size; at least one.
        times: time of each frame, in seconds from the beginning of the video.
        duration: length in seconds of the video, as far as it can be read.
        warnings: warnings for the user, one line each.
        decoded: number of frames that were decoded to find these.
    """

    frames: tuple[Image.Image, ...]
    times: tuple[float, ...]
    duration: float
    warnings: tuple[str, ...] = ()
    decoded: int = 0

    def thin(self, most: int) -> Clip:
        """The clip with at most ``most`` frames, evenly spread in time."""
        if len(self.frames) <= most:
            return self
        chosen = evenly(self.times, self.duration, most)
        frames, times = tuple(self.frames[i] for i in chosen), tuple(self.times[i] for i in chosen)
        return Clip(frames, times, self.duration, self.warnings, self.decoded)


class ClipSource(ABC):
    """A condition that a clip can be read from, such as a video file."""

    @abstractmethod
    def clip(self, most: int) -> Clip:
        """At most ``most`` frames, evenly spread over its length.

        Raises:
            CondgenError: if it can't be read.
        """


def evenly(times: Sequence[float], duration: float, most: int) -> list[int]:
    """Indices of at most ``most`` frames, those shown at evenly spaced times; of all frames if there are no more.

    Args:
        times: ascending times in seconds at which frames are first shown.
        duration: time in seconds at which the last frame ends.
        most: maximum number of frames.
    """
    if len(times) <= most:
        return list(range(len(times)))
    shown = np.searchsorted(np.array(times), even_moments(times[0], duration, most), "right") - 1
    return sorted({int(index) for index in shown})


def even_moments(first: float, end: float, most: int) -> NDArray[np.float64]:
    """(most,) times in seconds: the midpoints of ``most`` equal parts of the time from ``first`` to ``end``."""
    # a frame that begins at a time counts as shown then, in spite of rounding
    return first + ((np.arange(most) + 0.5) / most + 1e-9) * max(end - first, 0.0)
