"""A clip: some frames of a video with their times, and which frames are shown at even moments."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["FRAME_SIDE", "Clip", "ClipSource", "even_moments", "evenly"]

FRAME_SIDE = 360
"""Frames are reduced until their shorter side is no longer than this."""


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames of a video, in order.

    Args:
        frames: upright RGB images of one size; at least one.
        times: of each frame, seconds from the video's beginning at which it is shown.
        duration: of the whole video in seconds, as far as it can be read.
        warnings: what is wrong with it, a line each.
        decoded: frames that had to be decoded to find these.
    """

    frames: tuple[Image.Image, ...]
    times: tuple[float, ...]
    duration: float
    warnings: tuple[str, ...] = ()
    decoded: int = 0

    def thin(self, most: int) -> Clip:
        """At most so many of its frames, evenly spread in time."""
        if len(self.frames) <= most:
            return self
        chosen = evenly(self.times, self.duration, most)
        frames, times = tuple(self.frames[i] for i in chosen), tuple(self.times[i] for i in chosen)
        return Clip(frames, times, self.duration, self.warnings, self.decoded)


class ClipSource(ABC):
    """A condition that becomes a clip when a model asks for it, such as a video's file."""

    @abstractmethod
    def clip(self, most: int) -> Clip:
        """At most so many frames, evenly spread over its length.

        Raises:
            CondgenError: if it can't be read.
        """


def evenly(times: Sequence[float], duration: float, most: int) -> list[int]:
    """Indices of at most ``most`` frames that are shown at moments spread evenly over ``duration``; all if they aren't more.

    Args:
        times: at which frames are first shown, ascending.
    """
    if len(times) <= most:
        return list(range(len(times)))
    shown = np.searchsorted(np.array(times), even_moments(times[0], duration, most), "right") - 1
    return sorted({int(index) for index in shown})


def even_moments(first: float, end: float, most: int) -> NDArray[np.float64]:
    """(most,) seconds, in the middle of equal parts of the time from ``first`` to ``end``."""
    # a frame that begins at a moment is shown at it, rounding or not
    return first + ((np.arange(most) + 0.5) / most + 1e-9) * max(end - first, 0.0)
