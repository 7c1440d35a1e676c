"""Videos of any kind as a few frames with their times: what a network reads of a clip, however long it is."""

from __future__ import annotations

import contextlib
import math
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import IO, Any

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from condgen_cli.data.content import CLIP_CONTAINERS, Kind, kind_of, open_content
from condgen_cli.data.image import MAX_PIXELS, load_image
from condgen_cli.errors import InputError
from condgen_cli.sources import Source

__all__ = ["Clip", "Footage", "evenly", "load_clip"]

_SIDE = 360
"""Frames are reduced until their shorter side is no longer than this."""

_SPARSE = 2.0
"""Seconds from one wanted frame to the next from which on seeking is tried: decoding all between them would cost more."""

_SHORT = 0.05
"""Share of the announced length that may be missing before the user is told, and a second."""


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

    def thinned(self, most: int) -> Clip:
        """At most so many of its frames, evenly spread in time."""
        if len(self.frames) <= most:
            return self
        chosen = evenly(self.times, self.duration, most)
        frames, times = tuple(self.frames[i] for i in chosen), tuple(self.times[i] for i in chosen)
        return Clip(frames, times, self.duration, self.warnings, self.decoded)


class Footage(Source):
    """A video's file that is decoded when its clip is asked for, and not again while somebody holds that clip.

    Args:
        name: a path, an http(s) URL, or ``-``; or another source, of the same bytes.
    """

    def __init__(self, name: str | Source) -> None:
        super().__init__(name)
        self.warnings: tuple[str, ...] = ()
        """What was wrong with it when it was decoded."""
        self._held: tuple[int, weakref.ref[Clip]] | None = None

    def clip(self, most: int) -> Clip:
        """As ``load_clip``."""
        clip = self._held[1]() if self._held and self._held[0] == most else None
        if clip is None:
            clip = _load_file(self, most)
            self.warnings = clip.warnings
            self._held = most, weakref.ref(clip)
        return clip


def evenly(times: tuple[float, ...] | list[float], duration: float, most: int) -> list[int]:
    """Indices of at most ``most`` frames that are shown at moments spread evenly over ``duration``; all if they aren't more.

    Args:
        times: at which frames are first shown, ascending.
    """
    if len(times) <= most:
        return list(range(len(times)))
    length = max(duration - times[0], 0.0)
    # a frame that begins at a moment is shown at it, rounding or not
    moments = times[0] + ((np.arange(most) + 0.5) / most + 1e-9) * length
    shown = np.searchsorted(np.array(times), moments, "right") - 1
    return sorted({int(index) for index in shown})


def load_clip(source: Any, most: int = 16) -> Clip:
    """A video as at most ``most`` frames, evenly spread over its length.

    Time and memory don't grow with the length of a video that can be sought in; where it can't, it is decoded from its
    beginning to its end, and memory stays bounded. What is readable of a damaged video is used. A photo is a clip of one frame.

    Args:
        source: a path, a URL, the bytes of a file (MP4, WebM, MKV, AVI, GIF or another that FFmpeg knows), an object whose
            ``open()`` gives such bytes or whose ``clip(most)`` gives a ``Clip``, a ``Clip``, or a PIL image.
        most: frames; at least 1.
    Raises:
        NotFoundError: if the file doesn't exist.
        NetworkError: if a URL can't be fetched.
        InputError: if it is no video, or no frame of it can be decoded.
    """
    if isinstance(source, Clip):
        return source.thinned(most)
    if hasattr(source, "clip"):
        clip: Clip = source.clip(most)
        return clip.thinned(most)
    return _still(source) if isinstance(source, Image.Image) else _load_file(source, most)


def _load_file(source: Any, most: int) -> Clip:
    if kind_of(source) is Kind.photo:
        return _still(source)
    name, file = open_content(source, "a video")
    with file:
        if not file.read(1):
            raise InputError(f"{name} is empty")
        file.seek(0)
        return _Reader(name, file, most).clip()


def _still(source: Any) -> Clip:
    return Clip((load_image(source),), (0.0,), 0.0, decoded=1)


@dataclass(frozen=True)
class _Shown:
    """A frame when it is shown, in seconds from the beginning."""

    time: float
    image: Image.Image


class _Reader:
    """One video being read.

    Args:
        name: for messages.
        file: seekable.
        most: frames wanted.
    """

    def __init__(self, name: str, file: IO[bytes], most: int) -> None:
        self.name = name
        self.file = file
        self.most = most
        self.decoded = 0
        self.damaged = False
        self.position = 0.0
        """When the last decoded frame is shown."""

    def clip(self) -> Clip:
        try:
            with self._container() as container:
                stream = self._stream(container)
                announced = _announced(container, stream)
                found, end = self._sampled(container, stream, announced)
        except av.error.FFmpegError as error:
            raise InputError(f"{self.name} is a broken video: {_reason(error)}") from None
        if not found:
            raise InputError(f"{self.name} is a broken video: no frame of it can be decoded")
        chosen = [found[index] for index in evenly([one.time for one in found], end, self.most)]
        size = chosen[0].image.size  # a stream may change its own
        images = tuple(one.image if one.image.size == size else one.image.resize(size) for one in chosen)
        times = tuple(round(one.time, 3) for one in chosen)
        return Clip(images, times, round(end, 3), tuple(self._warnings(announced, end)), self.decoded)

    def _sampled(self, container: InputContainer, stream: VideoStream, announced: float) -> tuple[list[_Shown], float]:
        """Frames, at least as many as are wanted if there are so many, and where the video ends."""
        if announced / self.most > _SPARSE:
            found, end = self._sought(container, stream, announced)
            if found and end < announced * (1 - _SHORT):  # spread over what is there
                found, end = self._sought(container, stream, end)
            if found:
                return found, end
            with contextlib.suppress(av.error.FFmpegError):
                container.seek(0)
        return self._read_through(container, stream, announced)

    def _sought(self, container: InputContainer, stream: VideoStream, length: float) -> tuple[list[_Shown], float]:
        """The frames shown at even moments of ``length`` seconds, by seeking; and the end of what can be read."""
        found: list[_Shown] = []
        frames: Iterator[tuple[float, VideoFrame]] = iter(())
        self.position, seeking, end = 0.0, True, length
        for moment in (np.arange(self.most) + 0.5) / self.most * length:
            before = self.position
            if seeking:
                try:
                    container.seek(_ticks(stream, float(moment)), stream=stream)
                    frames = self._frames(container, stream)
                except av.error.FFmpegError:
                    seeking = False
            shown: tuple[float, VideoFrame] | None = None
            for time, frame in frames:
                if shown is None and found and time <= before:
                    seeking = False  # no key frame since the last one: going back costs more than going on
                if time > moment and shown is not None:
                    frames = chain([(time, frame)], frames)
                    break
                shown = time, frame
                if time >= moment:
                    break
            else:
                end = min(end, self.position + self._interval(stream))
            if shown is not None and (not found or shown[0] > found[-1].time):
                found.append(_Shown(shown[0], self._image(shown[1], stream)))
        return found, end

    def _read_through(self, container: InputContainer, stream: VideoStream, announced: float) -> tuple[list[_Shown], float]:
        """Frames from the beginning to the end, thinned out whenever four times as many are held as are wanted."""
        found: list[_Shown] = []
        step = 0.0
        for time, frame in self._frames(container, stream):
            if found and time < found[-1].time + step:
                continue
            found.append(_Shown(time, self._image(frame, stream)))
            if len(found) > 4 * self.most:
                step = 2 * (time - found[0].time) / len(found)
                found = _apart(found, step)
        end = self.position + self._interval(stream)
        return found, max(end, announced) if announced - end < 1 and not self.damaged else end

    def _frames(self, container: InputContainer, stream: VideoStream) -> Iterator[tuple[float, VideoFrame]]:
        """(time, frame) from where the container is; what can't be decoded is left out."""
        start = float((stream.start_time or 0) * (stream.time_base or 0))
        last = -math.inf
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                frames = packet.decode() if packet is not None else []
            except av.error.EOFError:
                return
            except (av.error.InvalidDataError, av.error.ExternalError, OSError):
                self.damaged = True
                if packet is None:
                    return
                continue
            if packet is None:
                return
            for frame in frames:
                if not isinstance(frame, VideoFrame):
                    continue
                self.decoded += 1
                time = max(frame.time - start, 0.0) if frame.time is not None else -math.inf
                if time <= last or not math.isfinite(time):
                    time = last + self._interval(stream) if math.isfinite(last) else 0.0
                last = self.position = time
                yield time, frame

    def _image(self, frame: VideoFrame, stream: VideoStream) -> Image.Image:
        """Upright, with square pixels, and reduced."""
        aspect = float(stream.sample_aspect_ratio or 1) or 1.0
        width, height = frame.width * aspect, float(frame.height)
        scale = min(1.0, _SIDE / min(width, height))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = Image.fromarray(_pixels(frame, *size))
        if image.mode == "RGBA":
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        turn = _TURNS.get(round(frame.rotation / 90) % 4)
        return image if turn is None else image.transpose(turn)

    def _interval(self, stream: VideoStream) -> float:
        """Seconds that a frame is shown, by the stream's own account."""
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        return float(1 / rate) if rate > 0 else 0.04

    def _warnings(self, announced: float, end: float) -> Iterator[str]:
        if self.damaged:
            yield "damaged; what can be decoded is used"
        elif announced - end > max(1.0, _SHORT * announced):
            yield f"its pictures end at {end:.1f} of {announced:.1f} s"

    def _container(self) -> InputContainer:
        try:
            return av.open(self.file, "r", options={"format_whitelist": CLIP_CONTAINERS}, metadata_errors="ignore")
        except av.error.InvalidDataError:
            self.file.seek(4)
            if self.file.read(4) == b"ftyp":  # an MP4, whose index often stands at its end
                raise InputError(f"{self.name} is a broken video: its index is missing or damaged") from None
            raise InputError(f"{self.name} is not a video of a known format") from None
        except av.error.ArgumentError:  # a format that isn't wanted
            raise InputError(f"{self.name} is not a video of a known format") from None
        except av.error.FFmpegError as error:
            raise InputError(f"{self.name} is a broken video: {_reason(error)}") from None

    def _stream(self, container: InputContainer) -> VideoStream:
        """The first one that isn't a picture on a recording's cover."""
        for stream in container.streams.video:
            if not stream.disposition & Disposition.attached_pic:
                break
        else:
            raise InputError(f"{self.name} has sound and no pictures" if container.streams else f"{self.name} has no pictures")
        context = stream.codec_context
        if context.width * context.height > MAX_PIXELS:
            raise InputError(f"{self.name} has frames of {context.width}×{context.height} pixels, too many")
        stream.thread_type = "AUTO"
        return stream


def _announced(container: InputContainer, stream: VideoStream) -> float:
    """Seconds that it lasts by its header; 0 if that says nothing."""
    if stream.duration and stream.time_base:
        return max(float(stream.duration * stream.time_base), 0.0)
    return max((container.duration or 0) / av.time_base, 0.0)


def _ticks(stream: VideoStream, seconds: float) -> int:
    return int(seconds / float(stream.time_base or Fraction(1, 1000))) + (stream.start_time or 0)


def _apart(found: list[_Shown], step: float) -> list[_Shown]:
    """Those that come at least ``step`` seconds after the one before."""
    kept = found[:1]
    for one in found[1:]:
        if one.time >= kept[-1].time + step:
            kept.append(one)
    return kept


def _pixels(frame: VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
    transparent = any(component.is_alpha for component in frame.format.components) or frame.format.name == "pal8"
    smaller = frame.reformat(width, height, "rgba" if transparent else "rgb24", interpolation=Interpolation.AREA)
    return np.ascontiguousarray(smaller.to_ndarray())


def _reason(error: Exception) -> str:
    text = str(getattr(error, "strerror", "") or error).partition("\n")[0]
    return text[:1].lower() + text[1:]


_TURNS = {1: Image.Transpose.ROTATE_90, 2: Image.Transpose.ROTATE_180, 3: Image.Transpose.ROTATE_270}
"""By quarter turns against the clock."""
