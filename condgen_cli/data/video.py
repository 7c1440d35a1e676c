"""Videos of any kind as a few frames with their times: what a network reads of a clip, however long it is."""

from __future__ import annotations

import struct
import weakref
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import IO, Any

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from condgen_cli.data.containers import is_mp4, open_container
from condgen_cli.data.content import CLIP_CONTAINERS, Kind, kind_of, open_content
from condgen_cli.data.image import MAX_PIXELS, load_image, open_image
from condgen_cli.data.salvage import completed
from condgen_cli.data.truncation import missing_end
from condgen_cli.errors import InputError
from condgen_cli.sources import Source

__all__ = ["Clip", "Footage", "evenly", "load_clip"]

_SIDE = 360
"""Frames are reduced until their shorter side is no longer than this."""

_SPARSE = 2.0
"""Seconds from one wanted frame to the next from which on seeking is tried: decoding all between them would cost more."""

_SHORT = 0.05
"""Share of the announced length that may be missing before the user is told, and a second."""

_AT_ONCE = 4
"""Up to so many times the frames that are wanted, all are decoded, however long the video is."""

_PATIENCE = 100
"""Times that reading a damaged file is taken up again."""

_UNTIMED = 100.0
"""Milliseconds that a frame is shown which doesn't say for how long, as browsers have it."""


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


def evenly(times: Sequence[float], duration: float, most: int) -> list[int]:
    """Indices of at most ``most`` frames that are shown at moments spread evenly over ``duration``; all if they aren't more.

    Args:
        times: at which frames are first shown, ascending.
    """
    if len(times) <= most:
        return list(range(len(times)))
    shown = np.searchsorted(np.array(times), _moments(times[0], duration, most), "right") - 1
    return sorted({int(index) for index in shown})


def _moments(first: float, end: float, most: int) -> NDArray[np.float64]:
    """(most,) seconds, in the middle of equal parts of the time from ``first`` to ``end``."""
    # a frame that begins at a moment is shown at it, rounding or not
    return first + ((np.arange(most) + 0.5) / most + 1e-9) * max(end - first, 0.0)


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
        head = file.read(12)
        file.seek(0)
        if not head:
            raise InputError(f"{name} is empty")
        if head[8:] in (b"WEBP", b"avis"):
            return _animation(name, file, most)
        return _Reader(name, file, most).clip()


def _still(source: Any) -> Clip:
    image = load_image(source)
    return Clip((image,), (0.0,), 0.0, getattr(source, "warnings", ()), decoded=1)


def _animation(name: str, file: IO[bytes], most: int) -> Clip:
    """A picture that moves, in a format of which FFmpeg reads the first frame; what is there of one that is cut short."""
    missing = missing_end(file)
    fault: Exception | None = None
    for whole in (file, *completed(file)):
        try:
            clip = _moving(whole, most)
        except InputError:
            raise
        except Exception as error:  # Pillow's readers raise nearly anything
            fault = fault or error
            continue
        return replace(clip, warnings=(f"cut short: {missing}",) if missing else ())
    raise InputError(f"{name} is a broken video: {_reason(fault) if fault else 'nothing is there'}") from None


def _moving(file: IO[bytes], most: int) -> Clip:
    """As many frames as Pillow can decode; raises what Pillow raises if there are none."""
    times: list[float] = []
    end = 0.0
    file.seek(0)
    with open_image(file) as image:
        for index in range(int(getattr(image, "n_frames", 1))):
            try:
                image.seek(index)
                image.load()  # which tells how long the frame is shown
            except Exception:
                if not times:
                    raise
                break
            times.append(end)
            end += float(image.info.get("duration") or _UNTIMED) / 1000
        chosen = evenly(times, end, most)
        frames = []
        for index in chosen:
            image.seek(index)
            frames.append(_shrunk(load_image(image.copy())))
    shown = tuple(round(times[index], 3) for index in chosen)
    return Clip(tuple(frames), shown, round(end, 3), decoded=len(times) + len(chosen))


def _shrunk(image: Image.Image) -> Image.Image:
    scale = min(1.0, _SIDE / min(image.size))
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale)))) if scale < 1 else image


@dataclass(frozen=True)
class _Frame:
    """A decoded frame and when it is shown, in seconds from the first picture."""

    time: float
    picture: VideoFrame


class _Reader:
    """One video being read.

    The frames chosen are those that are shown at even moments (``_moments``) from the first picture to the end of the last,
    whether all are decoded or only those on the way from key frames: the end is known from packets, which needn't be decoded.

    Args:
        name: for messages.
        file: can be sought in.
        most: frames wanted.
    """

    def __init__(self, name: str, file: IO[bytes], most: int) -> None:
        self.name = name
        self.file = file
        self.most = most
        self.decoded = 0
        self.lost: set[tuple[str, int | None]] = set()
        """Pictures that could not be read or decoded."""
        self.missing = missing_end(file)
        """What the file lacks at its end."""
        self.jumped = False
        """Whether times went back, or were missing: what they are then counted from depends on where decoding began."""

    def clip(self) -> Clip:
        try:
            with ExitStack() as self.opened:
                self._rewind()
                self.base = float(self.stream.time_base or Fraction(1, 1000))
                first = next(self._pictures(), None)  # in some formats a stream is said to start before it
                self.start = float(first.time) if first is not None and first.time is not None else 0.0
                self.announced = self._announced()
                chosen, end = self._sampled()
        except av.error.FFmpegError as error:
            reason = "it ends before its first picture" if self.missing else _reason(error)
            raise InputError(f"{self.name} is a broken video: {reason}") from None
        if not chosen:
            raise InputError(f"{self.name} is a broken video: no frame of it can be decoded")
        size = chosen[0][1].size  # a stream may change its own
        images = tuple(image if image.size == size else image.resize(size) for _, image in chosen)
        times = tuple(round(time, 3) for time, _ in chosen)
        return Clip(images, times, end, tuple(self._warnings(end)), self.decoded)

    def _sampled(self) -> tuple[list[tuple[float, Image.Image]], float]:
        """The frames shown at even moments with their times, and where the video ends."""
        count, end = self._survey()
        self.few = count <= self.most
        if count > _AT_ONCE * self.most and end / self.most > _SPARSE:
            found, until = self._sought(end)
            if found and until < end:  # what follows can't be decoded: spread over what is there
                end = until
                found, _ = self._sought(end)
            if found:
                return found, end
        return self._read_through(end)

    def _survey(self) -> tuple[int, float]:
        """How many frames there are, or more than are decoded at once; and where the last one ends; by their packets."""
        self._rewind()
        length = self._length()
        sparse = length / self.most > _SPARSE
        count, end = 0, 0.0
        for count, packet in enumerate(filter(_has_picture, self._packets()), 1):
            end = max(end, self._end_of(packet))
            if sparse and count > _AT_ONCE * self.most:
                break
        else:
            return count, self._rounded(end)
        # frames that are shown last may come before others, so what is read begins well before the end
        if self._seek(length * (1 - 1 / self.most)):
            tail = max((self._end_of(packet) for packet in self._packets()), default=0.0)
            if tail > 0:
                return count, self._rounded(max(end, tail))
        self._rewind()
        return count, self._rounded(max((self._end_of(packet) for packet in self._packets()), default=end))

    def _rounded(self, end: float) -> float:
        """The end by the pictures; by the header, where that is less than a second later and nothing is known to be missing."""
        late = self.announced - end
        return round(self.announced if 0 < late < 1 and not self.lost and not self.missing else end, 3)

    def _sought(self, end: float) -> tuple[list[tuple[float, Image.Image]], float]:
        """The frames shown at even moments until ``end``, by seeking, and the end of what can be decoded.

        None are found where times can't be relied on.
        """
        self._rewind()
        frames = self._frames()
        current = next(frames, None)
        if current is None:
            return [], end
        found: list[tuple[float, Image.Image]] = []
        following: _Frame | None = None
        seeking, furthest = True, current.time
        for moment in _moments(current.time, end, self.most):
            if seeking and (following is None or following.time <= moment):
                landed, frames = self._landed(float(moment))
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
            if self.jumped:
                return [], end
            if not found or current.time > found[-1][0]:
                found.append((current.time, self._image(current.picture)))
            if following is None:  # that was the last
                last = round(current.time + self._interval(current.picture), 3)
                return found, min(end, last) if moment > last else end
        return found, end

    def _landed(self, moment: float) -> tuple[_Frame | None, Iterator[_Frame]]:
        """The first frame from a key frame on that is not later than ``moment``, and those that follow; None: there is none."""
        back = 0.0
        while moment > back:
            frames = self._frames() if self._seek(moment - back) else iter(())
            first = next(frames, None)
            if first is not None and first.time <= moment:
                return first, frames
            back = 4 * back or 1.0
        self._rewind()
        frames = self._frames()
        return next(frames, None), frames

    def _read_through(self, end: float) -> tuple[list[tuple[float, Image.Image]], float]:
        """The frames shown at even moments until the end, which is ``end`` if all can be decoded, by decoding all."""
        times, kept = self._decoded(end, ())
        if not times:
            return [], end
        last = times[-1] + self.shown
        if self.lost or self.jumped or end < times[-1] or end - last > 1:
            end = round(last, 3)
        chosen = evenly(times, end, self.most)
        if missing := [index for index in chosen if index not in kept]:
            _, more = self._decoded(end, missing)
            kept |= more
        return [(times[index], kept[index]) for index in chosen if index in kept], end

    def _decoded(self, end: float, wanted: Collection[int]) -> tuple[list[float], dict[int, Image.Image]]:
        """The times of all frames; and by their numbers the first ones, or those ``wanted``, and those shown at moments."""
        self._rewind()
        times: list[float] = []
        kept: dict[int, Image.Image] = {}
        moments: NDArray[np.float64] | None = None
        before: VideoFrame | None = None
        place = 0

        def keep(index: int, picture: VideoFrame) -> None:
            if index not in kept:
                kept[index] = self._image(picture)

        for frame in self._frames():
            if moments is None:
                moments = _moments(frame.time, end, self.most)
            while before is not None and place < self.most and moments[place] < frame.time:
                if not wanted:
                    keep(len(times) - 1, before)
                place += 1
            if len(times) in wanted or (not wanted and self.few and len(times) < self.most):
                keep(len(times), frame.picture)
            times.append(frame.time)
            before = frame.picture
        if before is not None:
            self.shown = self._interval(before)
            if not wanted and place < self.most:
                keep(len(times) - 1, before)
        return times, kept

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """Packets from where the container is, the last one empty: it makes the decoder give what it holds."""
        failures = 0
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.EOFError:
                return
            except (av.error.FFmpegError, OSError):
                failures += 1
                self.lost.add(("read", failures))
                if failures == _PATIENCE:
                    return
                packets = self.container.demux(self.stream)
                continue
            if packet is None:
                return
            yield packet

    def _pictures(self) -> Iterator[VideoFrame]:
        """Frames from where the container is; what can't be decoded is left out."""
        for packet in self._packets():
            try:
                frames = packet.decode()
            except av.error.EOFError:
                return
            except (av.error.FFmpegError, OSError):
                self.lost.add(("packet", packet.pts if packet.pts is not None else packet.dts))
                continue
            for frame in frames:
                if isinstance(frame, VideoFrame):
                    self.decoded += 1
                    yield frame

    def _frames(self) -> Iterator[_Frame]:
        """Frames from where the container is, with ascending times."""
        last: _Frame | None = None
        offset = 0.0
        for picture in self._pictures():
            time = None if picture.time is None else picture.time - self.start
            if time is None or (last is not None and time < last.time):
                self.jumped = True
                following = last.time + self._interval(last.picture) if last else 0.0
                if time is None:
                    time = following
                elif time + offset >= (last.time if last else 0.0):  # as before, the clock was set back
                    time += offset
                else:
                    offset = following - time
                    time = following
            last = _Frame(time, picture)
            yield last

    def _rewind(self) -> None:
        """Go to the beginning. The file is opened anew: to seek there, or after damage, fails in some formats."""
        self.opened.close()
        self.file.seek(0)
        self.container = self.opened.enter_context(self._container())
        self.stream = self._stream(self.container)

    def _seek(self, seconds: float) -> bool:
        """Go to the key frame before a time; False where that is impossible."""
        try:
            self.container.seek(round((seconds + self.start) / self.base), stream=self.stream)
        except (av.error.FFmpegError, OSError):
            return False
        return True

    def _image(self, frame: VideoFrame) -> Image.Image:
        """Upright, with square pixels, and reduced."""
        aspect = float(self.stream.sample_aspect_ratio or 1) or 1.0
        width, height = frame.width * aspect, float(frame.height)
        scale = min(1.0, _SIDE / min(width, height))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = Image.fromarray(_pixels(frame, *size))
        if image.mode == "RGBA":
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        turn = _turn(frame)
        return image if turn is None else image.transpose(turn)

    def _interval(self, shown: VideoFrame | Packet[VideoStream] | None) -> float:
        """Seconds that a frame is shown, by its own account or else by the stream's."""
        if shown is not None and shown.duration and shown.duration > 0 and shown.time_base:
            return float(shown.duration * shown.time_base)
        rate = self.stream.average_rate or self.stream.guessed_rate or Fraction(25)
        return float(1 / rate) if rate > 0 else 0.04

    def _end_of(self, packet: Packet[VideoStream]) -> float:
        """When the picture in a packet is shown no more; 0 if the packet has none or doesn't say."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None or not _has_picture(packet):
            return 0.0
        in_order = packet.dts is None or packet.dts == packet.pts  # else it says when the next one is decoded, in some formats
        return stamp * self.base - self.start + self._interval(packet if in_order else None)

    def _length(self) -> float:
        """Seconds that the pictures last by the header, about; 0 if that says nothing."""
        if self.stream.duration:
            return max(self.stream.duration * self.base, 0.0)
        late = self.start - (self.container.start_time or 0) / av.time_base
        return max((self.container.duration or 0) / av.time_base - late, 0.0)

    def _announced(self) -> float:
        """Seconds that the pictures last at least, if the header is right; 0 if it says nothing."""
        length = self.stream.duration * self.base if self.stream.duration else (self.container.duration or 0) / av.time_base
        # some formats count it from the first picture, others from 0, which may come before
        return max(length - max(self.start, 0.0), 0.0)

    def _warnings(self, end: float) -> Iterator[str]:
        """What is wrong, and how much is missing."""
        late = self.announced - end
        if late > max(1.0, _SHORT * self.announced) or (self.missing and late > 0.05):
            yield f"its pictures end at {end:.1f} of {self.announced:.1f} s{': it is cut short' if self.missing else ''}"
        elif self.missing:
            yield f"cut short: {self.missing}"
        elif self.lost:
            count = len(self.lost)
            yield f"damaged: {count} {'pictures' if count > 1 else 'picture'} can't be decoded, the others are used"

    def _container(self) -> InputContainer:
        try:
            return open_container(self.file, CLIP_CONTAINERS)
        except av.error.InvalidDataError:
            if is_mp4(self.file):  # whose index often stands at its end
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
        if context is None:
            raise InputError(f"{self.name} is a broken video: nothing of its pictures can be decoded")
        if context.width * context.height > MAX_PIXELS:
            raise InputError(f"{self.name} has frames of {context.width}×{context.height} pixels, too many")
        stream.thread_type = "AUTO"
        return stream


def _has_picture(packet: Packet[VideoStream]) -> bool:
    """Whether it is not the empty one at the end, nor cut away by the file's list of edits."""
    return packet.size > 0 and not packet.is_discard


def _pixels(frame: VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
    transparent = any(component.is_alpha for component in frame.format.components) or frame.format.name == "pal8"
    smaller = frame.reformat(width, height, "rgba" if transparent else "rgb24", interpolation=Interpolation.AREA)
    return np.ascontiguousarray(smaller.to_ndarray())


def _turn(frame: VideoFrame) -> Image.Transpose | None:
    """How a frame has to be turned or mirrored to be upright, by its display matrix."""
    found: Any = frame.side_data.get(SideDataType.DISPLAYMATRIX)  # type: ignore[call-overload]
    data = bytes(found) if found is not None else b""
    if len(data) < 20:
        return None
    # x' = a x + c y and y' = b x + d y, y pointing down
    a, b, _, c, d = struct.unpack_from("=5i", data)
    if abs(a) >= abs(c):
        return _FLIPS[a < 0, d < 0]
    return _QUARTER_TURNS[c < 0, b < 0]


_FLIPS = {
    (False, False): None,
    (True, False): Image.Transpose.FLIP_LEFT_RIGHT,
    (False, True): Image.Transpose.FLIP_TOP_BOTTOM,
    (True, True): Image.Transpose.ROTATE_180,
}
_QUARTER_TURNS = {
    (False, False): Image.Transpose.TRANSPOSE,
    (True, False): Image.Transpose.ROTATE_270,
    (False, True): Image.Transpose.ROTATE_90,
    (True, True): Image.Transpose.TRANSVERSE,
}


def _reason(error: Exception) -> str:
    if isinstance(error, av.error.EOFError):
        return "it ends before its first picture"
    text = str(getattr(error, "strerror", "") or error).partition("\n")[0]
    return text[:1].lower() + text[1:]
