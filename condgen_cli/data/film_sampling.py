"""Sampling frames evenly from a video of any length."""

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
"""Minimum seconds between sampled frames for seeking: if they are closer, decoding all frames costs less."""

_AT_ONCE = 4
"""If a video has at most this many times the requested frames, all of them are decoded."""


def sample_film(name: str, file: IO[bytes], most: int) -> Clip:
    """Sample at most ``most`` frames of a video, those shown at evenly spaced times.

    The times (``even_moments``) are the same whether all frames are decoded or only those that follow some key frames, since
    the end of the last frame is known from packets, which needn't be decoded.

    Args:
        name: name of the video, for messages.
        file: seekable file.
        most: maximum number of frames, at least 1.
    Raises:
        InputError: if it is not a video, or no frame can be decoded.
    """
    film = Film(name, file)
    with film.open():
        chosen, end = _Sampler(film, most).sample()
    if not chosen:
        raise InputError(f"{name} is a broken video: no frame of it can be decoded")
    size = chosen[0][1].size  # the size may change within a stream
    images = tuple(image if image.size == size else image.resize(size) for _, image in chosen)
    times = tuple(round(time, 3) for time, _ in chosen)
    return Clip(images, times, end, tuple(film.warnings(end)), film.decoded)


class _Sampler:
    """Samples frames of a film.

    Args:
        film: open film.
        most: maximum number of frames.
    """

    def __init__(self, film: Film, most: int) -> None:
        self.film = film
        self.most = most

    def sample(self) -> tuple[list[tuple[float, Image.Image]], float]:
        """The sampled frames with their times, and the end of the video, in seconds."""
        count, end = self._survey()
        self.few = count <= self.most
        if count > _AT_ONCE * self.most and end / self.most > _SPARSE:
            found, until = self._seek(end)
            if found and until < end:  # the rest can't be decoded: spread over the readable part
                end = until
                found, _ = self._seek(end)
            if found:
                return found, end
        return self._read_through(end)

    def _survey(self) -> tuple[int, float]:
        """The number of frames, counted up to the limit for decoding all, and the end of the last one, both from packets."""
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
        # the frame that is shown last needn't be the last packet, so reading begins well before the end
        if self.film.seek(length * (1 - 1 / self.most)):
            tail = max((self.film.end_of(packet) for packet in self.film.packets()), default=0.0)
            if tail > 0:
                return count, self._round(max(end, tail))
        self.film.rewind()
        return count, self._round(max((self.film.end_of(packet) for packet in self.film.packets()), default=end))

    def _round(self, end: float) -> float:
        """The end according to the packets, or to the header if that is less than a second later and nothing is missing."""
        late = self.film.announced - end
        return round(self.film.announced if 0 < late < 1 and not self.film.lost and not self.film.missing else end, 3)

    def _seek(self, end: float) -> tuple[list[tuple[float, Image.Image]], float]:
        """The frames shown at even times until ``end``, found by seeking, and the end of what can be decoded.

        Finds none if timestamps are unreliable.
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
                seeking = landed.time > current.time  # otherwise decoding on costs less, until the next key frame
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
        """The first frame at a key frame before ``moment``, or None, and the frames that follow."""
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
        """The frames shown at even times, found by decoding all, and the end of the video: ``end`` if all can be decoded."""
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
        """Decode all frames: the times of all, and the images, by index, of ``wanted`` or else of those shown at even times."""
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
