"""Decoding a video file with FFmpeg: its packets, and its frames in order with their times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import IO

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from condgen_cli.data.clip import FRAME_SIDE
from condgen_cli.data.containers import explain_failure, is_mp4, open_container
from condgen_cli.data.content import CLIP_CONTAINERS
from condgen_cli.data.image import MAX_PIXELS
from condgen_cli.data.picture import pixels_of, turn_of
from condgen_cli.data.truncation import missing_end
from condgen_cli.errors import InputError

__all__ = ["Film", "FilmFrame", "explain", "has_picture"]

_SHORT = 0.05
"""Maximum share of the stated length that may be missing without a warning; up to a second may always be missing."""

_PATIENCE = 100
"""Number of times that reading a damaged file is resumed."""


@dataclass(frozen=True)
class FilmFrame:
    """A decoded frame and the time at which it is shown, in seconds from the first frame."""

    time: float
    picture: VideoFrame


class Film:
    """A video file that is being read; times are in seconds from its first frame.

    Args:
        name: name of the video, for messages.
        file: seekable file.
    """

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self.name = name
        self.decoded = 0
        """Number of frames decoded so far."""
        self.lost: set[tuple[str, int | None]] = set()
        """Packets that could not be read or decoded."""
        self.missing = missing_end(file)
        """What is missing at the end of the file; empty if nothing."""
        self.jumped = False
        """Whether timestamps went back or were missing; times then depend on where decoding started."""
        self._file = file
        self._opened = ExitStack()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Open the file within the block.

        Raises:
            InputError: if it is not a video, or turns out to be broken within the block.
        """
        try:
            with self._opened:
                self.rewind()
                self._base = float(self.stream.time_base or Fraction(1, 1000))
                first = next(self._pictures(), None)  # some formats state an earlier start time than this
                self._start = float(first.time) if first is not None and first.time is not None else 0.0
                self.announced = self._announced()
                """Minimum length in seconds of the pictures according to the header; 0 if it doesn't say."""
                yield
        except av.error.FFmpegError as error:
            reason = "it ends before its first picture" if self.missing else explain(error)
            raise InputError(f"{self.name} is a broken video: {reason}") from None

    def packets(self) -> Iterator[Packet[VideoStream]]:
        """Packets from the current position on; the last one is empty and flushes the decoder."""
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
        """Frames from the current position on, without those that can't be decoded."""
        for packet in self.packets():
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

    def frames(self) -> Iterator[FilmFrame]:
        """Frames from the current position on, with ascending times."""
        last: FilmFrame | None = None
        offset = 0.0
        for picture in self._pictures():
            time = None if picture.time is None else picture.time - self._start
            if time is None or (last is not None and time < last.time):
                self.jumped = True
                following = last.time + self.interval(last.picture) if last else 0.0
                if time is None:
                    time = following
                elif time + offset >= (last.time if last else 0.0):  # since the same reset of the clock
                    time += offset
                else:
                    offset = following - time
                    time = following
            last = FilmFrame(time, picture)
            yield last

    def rewind(self) -> None:
        """Go to the beginning, by opening the file again: seeking there, or after damage, fails in some formats."""
        self._opened.close()
        self._file.seek(0)
        self.container = self._opened.enter_context(self._container())
        self.stream = self._stream(self.container)

    def seek(self, seconds: float) -> bool:
        """Seek to the key frame before a time in seconds; return False if that is impossible."""
        try:
            self.container.seek(round((seconds + self._start) / self._base), stream=self.stream)
        except (av.error.FFmpegError, OSError):
            return False
        return True

    def image(self, frame: VideoFrame) -> Image.Image:
        """A frame as an upright image with square pixels, scaled down to ``FRAME_SIDE``."""
        aspect = float(self.stream.sample_aspect_ratio or 1) or 1.0
        width, height = frame.width * aspect, float(frame.height)
        scale = min(1.0, FRAME_SIDE / min(width, height))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = Image.fromarray(pixels_of(frame, *size))
        if image.mode == "RGBA":
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        turn = turn_of(frame)
        return image if turn is None else image.transpose(turn)

    def interval(self, shown: VideoFrame | Packet[VideoStream] | None) -> float:
        """Seconds for which a frame is shown, from the frame itself or else from the stream's frame rate."""
        if shown is not None and shown.duration and shown.duration > 0 and shown.time_base:
            return float(shown.duration * shown.time_base)
        rate = self.stream.average_rate or self.stream.guessed_rate or Fraction(25)
        return float(1 / rate) if rate > 0 else 0.04

    def end_of(self, packet: Packet[VideoStream]) -> float:
        """Time in seconds at which the picture of a packet ends; 0 if the packet has no picture or no timestamp."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None or not has_picture(packet):
            return 0.0
        in_order = packet.dts is None or packet.dts == packet.pts  # else it may be the next one's time
        return stamp * self._base - self._start + self.interval(packet if in_order else None)

    def length(self) -> float:
        """Approximate length in seconds of the pictures according to the header; 0 if it doesn't say."""
        if self.stream.duration:
            return max(self.stream.duration * self._base, 0.0)
        late = self._start - (self.container.start_time or 0) / av.time_base
        return max((self.container.duration or 0) / av.time_base - late, 0.0)

    def _announced(self) -> float:
        """Minimum length in seconds of the pictures according to the header; 0 if it doesn't say."""
        length = self.stream.duration * self._base if self.stream.duration else (self.container.duration or 0) / av.time_base
        # some formats count from the first picture, others from 0, which may be earlier
        return max(length - max(self._start, 0.0), 0.0)

    def warnings(self, end: float) -> Iterator[str]:
        """Warnings about damage and missing parts, given the end of the last frame in seconds."""
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
            return open_container(self._file, CLIP_CONTAINERS)
        except av.error.InvalidDataError:
            if is_mp4(self._file):  # its index is often at the end
                raise InputError(f"{self.name} is a broken video: its index is missing or damaged") from None
            raise InputError(f"{self.name} is not a video of a known format") from None
        except av.error.ArgumentError:  # a format that isn't in the list
            raise InputError(f"{self.name} is not a video of a known format") from None
        except av.error.FFmpegError as error:
            raise InputError(f"{self.name} is a broken video: {explain(error)}") from None

    def _stream(self, container: InputContainer) -> VideoStream:
        """The first video stream that isn't cover art."""
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


def has_picture(packet: Packet[VideoStream]) -> bool:
    """Whether a packet has a picture: it isn't the empty one at the end, nor discarded by the file's edit list."""
    return packet.size > 0 and not packet.is_discard


def explain(error: Exception) -> str:
    """A library's reason why a file can't be read, as the end of a sentence."""
    if isinstance(error, av.error.EOFError):
        return "it ends before its first picture"
    return explain_failure(error)
