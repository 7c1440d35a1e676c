"""Frames that are evenly spread over a video, however long it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import IO

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from PIL import Image

from condgen_cli.data.clip import Clip, even_moments, evenly
from condgen_cli.data.film import Film, FilmFrame, has_picture
from condgen_cli.errors import InputError

__all__ = ["sample_film"]

_SPARSE = 2.0
"""Seconds from one wanted frame to the next from which on seeking is tried: decoding all between them would cost more."""

_AT_ONCE = 4
"""Up to so many times the frames that are wanted, all are decoded, however long the video is."""


def sample_film(name: str, file: IO[bytes], most: int) -> Clip:
    """At most ``most`` frames of a video, those that are shown at even moments.

    The moments (``even_moments``) lie between the first picture and the end of the last, whether all frames are decoded or
    only those on the way from key frames: the end is known from packets, which needn't be decoded.

    Args:
        name: for messages.
        file: can be sought in.
        most: frames; at least 1.
    Raises:
        InputError: if it is no video, or no frame of it can be decoded.
    """
    film = Film(name, file)
    with film.open():
        chosen, end = _Sampler(film, most).sample()
    if not chosen:
        raise InputError(f"{name} is a broken video: no frame of it can be decoded")
    size = chosen[0][1].size  # a stream may change its own
    images = tuple(image if image.size == size else image.resize(size) for _, image in chosen)
    times = tuple(round(time, 3) for time, _ in chosen)
    return Clip(images, times, end, tuple(film.warnings(end)), film.decoded)


class _Sampler:
    """The choice of frames of one film.

    Args:
        film: open.
        most: frames wanted.
    """

    def __init__(self, film: Film, most: int) -> None:
        self.film = film
        self.most = most

    def sample(self) -> tuple[list[tuple[float, Image.Image]], float]:
        """The frames shown at even moments with their times, and where the video ends."""
        count, end = self._survey()
        self.few = count <= self.most
        if count > _AT_ONCE * self.most and end / self.most > _SPARSE:
            found, until = self._seek(end)
            if found and until < end:  # what follows can't be decoded: spread over what is there
                end = until
                found, _ = self._seek(end)
            if found:
                return found, end
        return self._read_through(end)

    def _survey(self) -> tuple[int, float]:
        """How many frames there are, or more than are decoded at once; and where the last one ends; by their packets."""
        self.film.rewind()
        length = self.film.length()
        sparse = length / self.most > _SPARSE
        count, end = 0, 0.0
        for count, packet in enumerate(filter(has_picture, self.film.packets()), 1):
            end = max(end, self.film.end_of(packet))
            if sparse and count > _AT_ONCE * self.most:
                break
        else:
            return count, self._round(end)
        # frames that are shown last may come before others, so what is read begins well before the end
        if self.film.seek(length * (1 - 1 / self.most)):
            tail = max((self.film.end_of(packet) for packet in self.film.packets()), default=0.0)
            if tail > 0:
                return count, self._round(max(end, tail))
        self.film.rewind()
        return count, self._round(max((self.film.end_of(packet) for packet in self.film.packets()), default=end))

    def _round(self, end: float) -> float:
        """The end by the pictures; by the header, where that is less than a second later and nothing is known to be missing."""
        late = self.film.announced - end
        return round(self.film.announced if 0 < late < 1 and not self.film.lost and not self.film.missing else end, 3)

    def _seek(self, end: float) -> tuple[list[tuple[float, Image.Image]], float]:
        """The frames shown at even moments until ``end``, by seeking, and the end of what can be decoded.

        None are found where times can't be relied on.
        """
        self.film.rewind()
        frames = self.film.frames()
        current = next(frames, None)
        if current is None:
            return [], end
        found: list[tuple[float, Image.Image]] = []
        following: FilmFrame | None = None
        seeking, furthest = True, current.time
        for moment in even_moments(current.time, end, self.most):
            if seeking and (following is None or following.time <= moment):
                landed, frames = self._land(float(moment))
                if landed is None:
                    return [], end
                seeking = landed.time > current.time  # else going back costs more than going on, until a key frame comes
                current, following = landed, None
            while True:
                following = following or next(frames, None)
                if following is None or following.time > moment:
                    break
                seeking = seeking or (following.time > furthest and bool(following.picture.key_frame))
                furthest = max(furthest, following.time)
                current, following = following, None
            if self.film.jumped:
                return [], end
            if not found or current.time > found[-1][0]:
                found.append((current.time, self.film.image(current.picture)))
            if following is None:  # that was the last
                last = round(current.time + self.film.interval(current.picture), 3)
                return found, min(end, last) if moment > last else end
        return found, end

    def _land(self, moment: float) -> tuple[FilmFrame | None, Iterator[FilmFrame]]:
        """The first frame from a key frame on that is not later than ``moment``, and those that follow; None: there is none."""
        back = 0.0
        while moment > back:
            frames = self.film.frames() if self.film.seek(moment - back) else iter(())
            first = next(frames, None)
            if first is not None and first.time <= moment:
                return first, frames
            back = 4 * back or 1.0
        self.film.rewind()
        frames = self.film.frames()
        return next(frames, None), frames

    def _read_through(self, end: float) -> tuple[list[tuple[float, Image.Image]], float]:
        """The frames shown at even moments until the end, which is ``end`` if all can be decoded, by decoding all."""
        times, kept = self._decode(end, ())
        if not times:
            return [], end
        last = times[-1] + self.shown
        if self.film.lost or self.film.jumped or end < times[-1] or end - last > 1:
            end = round(last, 3)
        chosen = evenly(times, end, self.most)
        if missing := [index for index in chosen if index not in kept]:
            _, more = self._decode(end, missing)
            kept |= more
        return [(times[index], kept[index]) for index in chosen if index in kept], end

    def _decode(self, end: float, wanted: Collection[int]) -> tuple[list[float], dict[int, Image.Image]]:
        """The times of all frames; and by their numbers the first ones, or those ``wanted``, and those shown at moments."""
        self.film.rewind()
        times: list[float] = []
        kept: dict[int, Image.Image] = {}
        moments: NDArray[np.float64] | None = None
        before: VideoFrame | None = None
        place = 0

        def keep(index: int, picture: VideoFrame) -> None:
            if index not in kept:
                kept[index] = self.film.image(picture)

        for frame in self.film.frames():
            if moments is None:
                moments = even_moments(frame.time, end, self.most)
            while before is not None and place < self.most and moments[place] < frame.time:
                if not wanted:
                    keep(len(times) - 1, before)
                place += 1
            if len(times) in wanted or (not wanted and self.few and len(times) < self.most):
                keep(len(times), frame.picture)
            times.append(frame.time)
            before = frame.picture
        if before is not None:
            self.shown = self.film.interval(before)
            if not wanted and place < self.most:
                keep(len(times) - 1, before)
        return times, kept
