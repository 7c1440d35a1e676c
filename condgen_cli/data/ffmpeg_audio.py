"""Decoding sound from any container that FFmpeg supports, video included, by the file's timestamps."""

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
"""FFmpeg's formats that are tried. Playlists, which would open other files, are left out; formats in the last line have no
sound, so that the error can say this."""

_GUESSED = frozenset(("aac", "ac3", "amr", "dts", "dtshd", "eac3", "loas", "mlp", "mp3", "mpeg", "mpegts", "ogg", "truehd"))
"""Containers without a length in their header: FFmpeg estimates it from the data."""

_CHECKED = frozenset(("alac", "ape", "flac", "tak", "tta", "wavpack"))
"""Codecs with checksums, which detect damage that would otherwise be decoded as noise."""

_APART = 0.1
"""Maximum gap in seconds between frames that isn't filled: timestamps are rounded, and clocks drift."""

_PAUSE = 1.0
"""Minimum gap in seconds that counts as missing sound; some encoders leave out silence."""

_LONGEST_GAP = 600.0
"""Maximum gap in seconds between frames if the length of the file is unknown; after a larger one, the clock was reset."""

_BLOCK = 1 << 16
"""Approximate number of samples per channel in a block."""

_SCALES = {"u8": 128.0, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}


class SoundStream:
    """The selected audio stream of a file, decoded from its beginning to its end.

    Of several streams, the first that is marked as default is selected; commentaries and audio descriptions come last.

    Args:
        name: name of the file, for messages.
        file: file at its beginning; it needn't be seekable.
        counted: whether it is an MP3 whose header has the number of frames.
    Raises:
        UnknownFormatError: if the format is unknown.
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
        """Seconds that couldn't be decoded, as far as is known; valid once all blocks have been read."""
        self.damaged = False
        """Whether anything before the last frame couldn't be decoded."""
        self.ends_broken = False
        """Whether data after the last frame couldn't be decoded."""
        self.position = 0.0
        """Time in seconds, by the file's timestamps, at which the last block ends."""
        self._start = (self.container.start_time or 0) / av.time_base

    def close(self) -> None:
        """Close the container; the file stays open."""
        self.container.close()

    @property
    def format(self) -> str:
        """FFmpeg's names of the container format, separated by commas."""
        return self.container.format.name

    @property
    def is_mp3(self) -> bool:
        """Whether it is a plain MP3, which may be followed by other data."""
        return self.format == "mp3"

    @property
    def bit_rate(self) -> int:
        """Bits per second of uncompressed samples; 0 for compressed ones."""
        context = self.stream.codec_context
        return (context.bit_rate or 0) if context.name.startswith("pcm") else 0

    @property
    def announced(self) -> float | None:
        """Time in seconds at which the sound ends according to the header, by the file's timestamps; None if it doesn't say."""
        if _GUESSED.intersection(self.format.split(",")) and not (self.is_mp3 and self.counted):
            return None
        stream = self.stream
        if stream.duration and stream.time_base:
            return float((stream.duration + (stream.start_time or 0)) * stream.time_base) - self._start
        # the length of the whole file, whose pictures may last longer
        return self._total_seconds if not self.container.streams.video else None

    @property
    def length(self) -> float | None:
        """Length of the file in seconds according to the header or FFmpeg's estimate; None if unknown."""
        return self.announced or self._total_seconds

    @property
    def _total_seconds(self) -> float | None:
        return self.container.duration / av.time_base if self.container.duration else None

    def blocks(self, after: float = 0.0) -> Iterator[Block]:
        """Blocks of floats (samples, channels) with their samples per second, in order; gaps are filled with silence.

        Args:
            after: time in seconds, by the file's timestamps, before which sound is skipped.
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
        """The samples of all frames, with silence in the gaps between them."""
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
        """Maximum gap in seconds before the next frame: up to the end of the file, unless its stated length is wrong."""
        whole = self._total_seconds or 0.0
        return whole + _PAUSE - self.position if self.position < whole else _LONGEST_GAP

    def _silence(self, seconds: float, channels: int, rate: int, after: float) -> Iterator[Block]:
        begin = max(self.position, after)
        self.position += seconds
        count = round((self.position - begin) * rate)
        for start in range(0, count, _BLOCK):
            yield np.zeros((min(_BLOCK, count - start), channels), np.float32), rate

    def _frames(self) -> Iterator[AudioFrame | None]:
        """Frames in order; None in place of a packet that can't be decoded."""
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
    except av.error.ArgumentError:  # a format that isn't in the list
        raise UnknownFormatError(f"{name} is not a sound file of a known format") from None
    except (av.error.EOFError, av.error.InvalidDataError):
        if is_mp4(file):
            raise InputError(f"{name} is broken: its index is missing, as in an interrupted recording") from None
        raise UnknownFormatError(f"{name} is not a sound file of a known format") from None
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"{name} is a broken sound file: {explain_failure(error)}") from None


def _floats(frame: AudioFrame) -> NDArray[np.float32]:
    """Samples (samples, channels) in [-1, 1]."""
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
