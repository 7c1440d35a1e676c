"""Sound of any container that FFmpeg knows, of a film's too, on the film's own clock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from numpy.typing import NDArray

from condgen_cli.data.containers import explain_failure, is_mp4, open_container
from condgen_cli.data.pipe import Pipe
from condgen_cli.data.view import View
from condgen_cli.errors import InputError, UnknownFormatError

__all__ = ["SoundStream"]

Block = tuple[NDArray[np.float32], int]

_CONTAINERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,bonk,caf,dsf,dts,dtshd,dv,eac3,flac,flv,iff,ircam,loas,matroska,mlp,mov,mp3,mpc,mpc8,mpeg,"
    "mpegts,mxf,nistsphere,nut,ogg,oma,qcp,rm,rso,shn,sox,tak,truehd,tta,voc,w64,wav,webm,wtv,wv,xwma,"
    "gif,h264,hevc,ivf,mjpeg,mpegvideo"
)
"""What FFmpeg may take a file for. Its playlists are not among them, which name other files to be opened; the last ones have no
sound, which can be said of them then."""

_GUESSED = frozenset(("aac", "ac3", "amr", "dts", "dtshd", "eac3", "loas", "mlp", "mp3", "mpeg", "mpegts", "ogg", "truehd"))
"""Containers whose headers don't say how long they are: FFmpeg guesses from what is there."""

_CHECKED = frozenset(("alac", "ape", "flac", "tak", "tta", "wavpack"))
"""Codecs whose checksums show what is damaged, which would be heard as noise."""

_APART = 0.1
"""Seconds by which a frame may come later than the sound before it ends: clocks are rounded, and drift."""

_PAUSE = 1.0
"""Seconds without any frame from which on something is missing; some encoders leave out what is silent."""

_LONGEST_GAP = 600.0
"""Seconds that may lie between two frames where nobody knows how long the file is; a clock that jumps further was set anew."""

_BLOCK = 1 << 16
"""Samples of each channel that a block has about."""

_SCALES = {"u8": 128.0, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}


class SoundStream:
    """The one sound stream of a file that is listened to, decoded from its beginning to its end.

    Of several it is the first that is marked as the default, commentaries and descriptions last.

    Args:
        name: for messages.
        file: read from where it is; one that isn't ``seekable()`` is never gone back in.
        counted: whether it is an MP3 that says how many frames it has.
    Raises:
        UnknownFormatError: if it is no file of a known format.
        InputError: if it is broken, or has no sound that can be decoded.
    """

    def __init__(self, name: str, file: View | Pipe, counted: bool = False) -> None:
        self.name = name
        self.counted = counted
        self.container = _open(name, file)
        try:
            self.stream = self._choose_stream()
            self._is_checked = self.stream.codec_context.name in _CHECKED
            if self._is_checked:
                self.stream.codec_context.options = {"err_detect": "crccheck+explode"}
        except InputError:
            self.close()
            raise
        self.warnings: list[str] = self._stream_warnings()
        self.lost = 0.0
        """Seconds that couldn't be decoded, as far as is known; complete when all blocks have been read."""
        self.damaged = False
        """Whether anything before the last frame couldn't be decoded."""
        self.ends_broken = False
        """Whether what follows the last frame can't be decoded."""
        self.position = 0.0
        """Seconds, on the film's clock, at which the last block ends."""
        self._start = (self.container.start_time or 0) / av.time_base

    def close(self) -> None:
        """Leave the file, which stays open."""
        self.container.close()

    @property
    def format(self) -> str:
        """FFmpeg's names of the container, between commas."""
        return self.container.format.name

    @property
    def is_mp3(self) -> bool:
        """Whether it is an MP3 without a container, which other things may follow."""
        return self.format == "mp3"

    @property
    def bit_rate(self) -> int:
        """Bits a second of samples that are not compressed; 0 of others."""
        context = self.stream.codec_context
        return (context.bit_rate or 0) if context.name.startswith("pcm") else 0

    @property
    def announced(self) -> float | None:
        """Seconds, on the film's clock, at which the sound ends by the file's header; None if that doesn't say."""
        if _GUESSED.intersection(self.format.split(",")) and not (self.is_mp3 and self.counted):
            return None
        stream = self.stream
        if stream.duration and stream.time_base:
            return float((stream.duration + (stream.start_time or 0)) * stream.time_base) - self._start
        # the whole film's, whose pictures may go on longer
        return self._total_seconds if not self.container.streams.video else None

    @property
    def length(self) -> float | None:
        """Seconds that the file lasts by its header or by FFmpeg's guess; None if nobody knows."""
        return self.announced or self._total_seconds

    @property
    def _total_seconds(self) -> float | None:
        return self.container.duration / av.time_base if self.container.duration else None

    def blocks(self, after: float = 0.0) -> Iterator[Block]:
        """Blocks (samples, channels) of floats with their samples a second, in order; silence where nothing is.

        Args:
            after: seconds, on the film's clock, that are left out.
        """
        held: list[NDArray[np.float32]] = []
        rate = size = 0
        for samples, its_rate in self._place_frames(after):
            if held and (its_rate != rate or samples.shape[1] != held[0].shape[1]):
                yield np.concatenate(held), rate
                held, size = [], 0
            held.append(samples)
            rate = its_rate
            size += len(samples)
            if size >= _BLOCK:
                yield np.concatenate(held), rate
                held, size = [], 0
        if held:
            yield np.concatenate(held), rate

    def _place_frames(self, after: float) -> Iterator[Block]:
        """What the frames hold, with silence between those that lie apart."""
        begun = after > 0
        for frame in self._frames():
            failing, self.ends_broken = self.ends_broken, frame is None
            if frame is None:
                continue
            self.damaged = self.damaged or failing
            rate, samples = frame.sample_rate, _floats(frame)
            time = frame.time - self._start if frame.time is not None else self.position
            gap = time - self.position
            if gap < -_PAUSE or gap > self._longest_gap:
                self._start += gap
            elif gap > _APART:
                if begun and (failing or self._is_checked or gap > _PAUSE):
                    self.lost += gap
                yield from self._silence(gap, samples.shape[1], rate, after)
            begun = True
            left_out = max(round((after - self.position) * rate), 0)
            self.position += len(samples) / rate
            if left_out < len(samples):
                yield samples[left_out:], rate

    @property
    def _longest_gap(self) -> float:
        """Seconds that may lie before the next frame: none beyond the file's end, unless that was told wrongly."""
        whole = self._total_seconds or 0.0
        return whole + _PAUSE - self.position if self.position < whole else _LONGEST_GAP

    def _silence(self, seconds: float, channels: int, rate: int, after: float) -> Iterator[Block]:
        begin = max(self.position, after)
        self.position += seconds
        count = round((self.position - begin) * rate)
        for start in range(0, count, _BLOCK):
            yield np.zeros((min(_BLOCK, count - start), channels), np.float32), rate

    def _frames(self) -> Iterator[AudioFrame | None]:
        """Frames in order; None in place of what can't be decoded."""
        packets = self.container.demux(self.stream)
        while True:
            packet: Packet[AudioStream] | None = None
            try:
                packet = next(packets, None)
                frames: list[Any] = packet.decode() if packet is not None else []
            except av.error.EOFError:
                return
            except (av.error.FFmpegError, OSError):
                yield None
                if packet is None:
                    return
                continue
            if packet is None:
                return
            for frame in frames:
                if isinstance(frame, AudioFrame) and frame.samples and frame.sample_rate > 0:
                    yield frame

    def _choose_stream(self) -> AudioStream:
        streams = [stream for stream in self.container.streams.audio if stream.codec_context is not None]
        if not self.container.streams.audio:
            pictures = "pictures and " if self.container.streams.video else ""
            raise InputError(f"{self.name} has {pictures}no sound")
        if not streams:
            raise InputError(f"{self.name} has sound in a format that can't be decoded")
        aside = Disposition.comment | Disposition.visual_impaired | Disposition.hearing_impaired
        return min(streams, key=lambda one: (bool(one.disposition & aside), not one.disposition & Disposition.default))

    def _stream_warnings(self) -> list[str]:
        streams = self.container.streams.audio
        if len(streams) < 2:
            return []
        number = 1 + streams.index(self.stream)
        language = self.stream.language
        told = f" ({language})" if language and language != "und" else ""
        return [f"it has {len(streams)} sound streams; number {number}{told} is heard"]


def _open(name: str, file: View | Pipe) -> InputContainer:
    try:
        return open_container(file, _CONTAINERS)
    except av.error.ArgumentError:  # a format that isn't wanted
        raise UnknownFormatError(f"{name} is not a sound file of a known format") from None
    except (av.error.EOFError, av.error.InvalidDataError):
        if is_mp4(file):
            raise InputError(f"{name} is broken: its index is missing, as in a recording that was broken off") from None
        raise UnknownFormatError(f"{name} is not a sound file of a known format") from None
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"{name} is a broken sound file: {explain_failure(error)}") from None


def _floats(frame: AudioFrame) -> NDArray[np.float32]:
    """(samples, channels) in [-1, 1]."""
    values: NDArray[Any] = frame.to_ndarray()
    values = values.T if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels)
    kind = frame.format.name.removesuffix("p")
    scale = _SCALES.get(kind)
    if scale is None:
        return np.ascontiguousarray(values, dtype=np.float32)
    floats: NDArray[Any] = values.astype(np.float32 if kind in ("u8", "s16") else np.float64)
    if kind == "u8":
        floats = floats - scale
    return np.ascontiguousarray(floats / scale, dtype=np.float32)
