"""Reading a sound recording of any format once, from a file or a pipe."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from condgen_cli.data.content import Kind, command_for, kind_of
from condgen_cli.data.pipe import Pipe
from condgen_cli.data.sound import Block, Sound, as_channels, check_rate
from condgen_cli.data.sound_header import counts_frames, index_comes_last
from condgen_cli.data.sound_source import open_sound
from condgen_cli.data.truncation import missing_end
from condgen_cli.data.view import View
from condgen_cli.data.wave_header import MPEG_TAGS, Wave, is_libsndfile, wave_header
from condgen_cli.errors import InputError, UnknownFormatError
from condgen_cli.files.sources import Source
from condgen_cli.terminal import console

if TYPE_CHECKING:
    from condgen_cli.data.ffmpeg_audio import SoundStream

__all__ = ["Recording"]

_BLOCK = 1 << 18
"""Number of values, of all channels together, that are decoded at a time."""

_SHORT = 0.25
"""Seconds that may be missing without a warning: lengths in headers are rounded to the codec's frames."""

# libsndfile's notes about damaged files that it reads nevertheless
_CUT = re.compile(r"^ *riff *: (\d+) \(should be (\d+)\)", re.MULTILINE)
_NO_END = "end-of-stream bit"
_DAMAGE = ("Corrupted bitstream", "reports a hole")

_UNKNOWN_FORMAT = ("Format not recognised", "unknown format")
"""libsndfile's messages for unknown formats."""

_DAMAGED = "damaged; what can be decoded is used"

_HEAD = 1 << 20
"""Number of bytes from which the kind of a file that is not sound is detected."""

_END_MARK = 4
"""The end-of-stream bit in the header of an Ogg page."""


class Recording:
    """An open recording, to be read once.

    Times are those of the file: the sound of a video may begin later than the video.

    Args:
        source: source as for ``load_audio``. Standard input and other pipes are decoded as data arrive; formats that need a
            seekable file are copied to a temporary file first, with a note to the user.
    Raises:
        NotFoundError, NetworkError: if it doesn't exist or can't be fetched.
        InputError: if it is empty, is not sound, or can't be read.
    """

    def __init__(self, source: Any) -> None:
        self.missing: list[str] = []
        """Warnings about missing sound, one line each; complete once all blocks have been read."""
        self.notes: list[str] = []
        """Other warnings for the user, one line each."""
        self.end = 0.0
        """Time in seconds at which the last block ends."""
        self.seconds: float | None = None
        """Length in seconds according to the header or an estimate; None if unknown."""
        self._sound: _SoundFile | None = None
        self._stream: SoundStream | None = None
        self._file: IO[bytes] | Pipe | None = None
        self._header: Wave | None = None
        self._announced: float | None = None  # seconds according to a header that FFmpeg ignores
        self._samples: NDArray[np.floating[Any]] | None = None
        if isinstance(source, Sound):
            self.name, self._samples, self._rate = "the sound", as_channels(source.samples), source.rate
            check_rate(self.name, source.rate)
            self.seconds = len(source.samples) / source.rate
            return
        self._source, self.name, file = open_sound(source)
        try:
            if isinstance(file, Pipe):
                self._begin_pipe(file)
            else:
                self._begin(file)
        except UnknownFormatError as error:
            explained = self._explain(error)
            self.close()
            raise explained from None
        except BaseException:
            self.close()
            raise

    @property
    def warnings(self) -> tuple[str, ...]:
        """All warnings so far, one line each."""
        return (*self.notes, *self.missing)

    def close(self) -> None:
        """Close the file."""
        for opened in (self._sound, self._stream, self._file):
            if opened is not None:
                opened.close()
        self._sound = self._stream = self._file = None

    def blocks(self) -> Iterator[Block]:
        """Blocks of samples (samples, channels) with their samples per second, up to the end of what can be decoded.

        Raises:
            InputError: if nothing can be decoded, or it has no samples.
        """
        if self._samples is not None:
            for start in range(0, len(self._samples), _BLOCK):
                samples = self._samples[start : start + _BLOCK]
                self.end += len(samples) / self._rate
                yield samples, self._rate
        elif self._sound is not None:
            yield from self._decode(self._sound)
        elif self._stream is not None:
            yield from self._decode_stream(self._stream, 0.0)
        if not self.end:
            raise InputError(
                f"{self.name} is broken: none of it can be decoded" if self.missing else f"{self.name} has no samples"
            )

    def _explain(self, error: UnknownFormatError) -> InputError:
        """The error, or a clearer one if another command reads files of this kind."""
        opened = self._file
        if opened is None:
            return error
        kind = kind_of(opened.head if isinstance(opened, Pipe) else _read_part(opened, 0, _HEAD))
        if kind in (Kind.sound, Kind.other):
            return error
        location = self._source.location if isinstance(self._source, Source) else None
        hint = command_for(kind, location) if location and not isinstance(opened, Pipe) else None
        return InputError(f"{self.name} is {kind.phrase}, not {Kind.sound.phrase}", hint)

    def _begin(self, file: IO[bytes]) -> None:
        """Open a file with libsndfile, or else FFmpeg."""
        self._file = file
        head = _read_part(file, 0, 16)
        if not head:
            raise InputError(f"{self.name} is empty")
        self._header = header = wave_header(file)
        reason = ""
        # on unknown formats libsndfile tries libmpg123, which prints to the terminal
        if is_libsndfile(head) and not (header is not None and header.tag in MPEG_TAGS):
            try:
                self._sound = _SoundFile(_with_true_size(file, header))
            except soundfile.LibsndfileError as error:
                reason = error.error_string.removeprefix("Error : ").rstrip(".")
        if self._sound is not None and (self._sound.frames or (header is not None and not header.stale)):
            self.seconds = self._sound.frames / self._sound.samplerate
            return
        try:
            self._stream = self._ffmpeg(file)
        except InputError:
            if self._sound is not None:  # it has no samples
                return
            if reason and not any(note in reason for note in _UNKNOWN_FORMAT):
                raise InputError(f"{self.name} is a broken sound file: {reason}") from None
            raise
        if self._sound is not None:
            self._sound.close()
            self._sound = None
        self.seconds = self._stream.length

    def _begin_pipe(self, pipe: Pipe) -> None:
        """Open a pipe with FFmpeg; if the format needs a seekable file, copy it to a temporary file first."""
        self._file = pipe
        if not pipe.peek(0, 1):
            raise InputError(f"{self.name} is empty")
        header = wave_header(io.BytesIO(pipe.head))
        if not index_comes_last(pipe):
            try:
                self._stream = self._ffmpeg(pipe)
            except UnknownFormatError:
                self._check_head(pipe)
            else:
                pipe.forget()
                if header is not None and header.announced and self._stream.bit_rate:
                    self._announced = 8 * header.announced / self._stream.bit_rate
                self.seconds = self._announced or self._stream.length
                return
        console.info(f"{self.name}: this format can't be read from a pipe; it is copied to a temporary file first")
        self._begin(pipe.spool())

    def _check_head(self, pipe: Pipe) -> None:
        """Make sure that the data from a pipe begin like a sound recording.

        Raises:
            UnknownFormatError: if they don't.
        """
        try:
            self._begin(io.BytesIO(pipe.head))
        except UnknownFormatError:
            raise
        except InputError:  # the rest has not arrived yet
            pass
        finally:
            self._file = pipe
        if self._sound is not None:
            self._sound.close()
        self._sound = self._stream = None

    def _ffmpeg(self, file: IO[bytes] | Pipe) -> SoundStream:
        from condgen_cli.data.ffmpeg_audio import SoundStream

        if isinstance(file, Pipe):
            return SoundStream(self.name, file, counts_frames(file.peek))
        counted = counts_frames(lambda start, size: _read_part(file, start, size))
        file.seek(0)
        return SoundStream(self.name, View(file), counted)

    def _decode(self, sound: _SoundFile) -> Iterator[Block]:
        """Decode the file with libsndfile, and with FFmpeg from the place where libsndfile fails."""
        rate, frames, done, sane = sound.samplerate, sound.frames, 0, True
        while sane:
            try:
                block = sound.read(max(_BLOCK // sound.channels, 1), dtype="float32", always_2d=True)
            except soundfile.LibsndfileError:
                sane = False
                break
            sane = not any(note in sound.extra_info for note in _DAMAGE)
            if not len(block):
                break
            if sane:
                done += len(block)
                self.end = done / rate
                yield block, rate
        notes = sound.extra_info
        header = self._header
        if not sane or frames / rate - self.end > _SHORT:
            yield from self._rest(frames / rate)
        elif header is not None and header.stale:
            told = self.end * (header.announced or 0) / max(header.there, 1)
            self.notes.append(
                f"its header says {told:.1f} s, as in an interrupted recording; all {self.end:.1f} s in the file are used"
            )
        elif header is not None and header.announced is not None and header.announced > header.there:
            self._tell_cut(self.end * header.announced / max(header.there, 1))
        elif header is None and (cut := _CUT.search(notes)):
            self._tell_cut(self.end * int(cut[1]) / max(int(cut[2]), 1) if int(cut[1]) < 1 << 62 else self.end)
        elif _NO_END in notes:
            self._tell_cut(None)

    def _rest(self, announced: float) -> Iterator[Block]:
        """Decode with FFmpeg the rest of a file that libsndfile has failed to read."""
        file, after = self._file, self.end
        assert self._sound is not None
        self._sound.close()
        self._sound = None
        assert file is not None
        assert not isinstance(file, Pipe)
        try:
            self._stream = self._ffmpeg(file)
        except InputError:
            self._tell_cut(announced)
        else:
            yield from self._decode_stream(self._stream, after, announced)
        if not self.missing:
            self.missing.append(_DAMAGED)

    def _decode_stream(self, stream: SoundStream, after: float, announced: float | None = None) -> Iterator[Block]:
        """Decode with FFmpeg from a time in seconds on."""
        for samples, rate in stream.blocks(after):
            self.end = stream.position
            yield samples, rate
        self.notes += stream.warnings
        header = self._header
        if header is not None and (header.announced or 0) > header.there:
            announced = self.end * (header.announced or 0) / max(header.there, 1)
        announced = announced or self._announced or stream.announced
        if stream.lost:
            self.missing.append(f"damaged: {stream.lost:.1f} s of its sound can't be decoded and were silenced")
        elif stream.damaged:
            self.missing.append(_DAMAGED)
        if announced is not None:
            self._tell_cut(announced)
        elif self._ends_without_mark(stream) or (stream.ends_broken and not stream.is_mp3):
            self._tell_cut(None)
        if not self.missing and self._file is not None and not isinstance(self._file, Pipe):
            # the length of a video is that of its pictures, and some containers only state their size
            told = missing_end(self._file)
            self.missing += [f"cut short: {told}"] if told else []

    def _ends_without_mark(self, stream: SoundStream) -> bool:
        """Whether it is an Ogg stream without an end-of-stream mark."""
        if stream.format != "ogg" or self._file is None:
            return False
        file = self._file
        if isinstance(file, Pipe):
            tail = file.tail
        else:
            size = file.seek(0, io.SEEK_END)
            tail = _read_part(file, max(size - Pipe.TAIL, 0), Pipe.TAIL)
        page = tail.rfind(b"OggS")
        return 0 <= page < len(tail) - 6 and not tail[page + 5] & _END_MARK

    def _tell_cut(self, announced: float | None) -> None:
        if announced is None:
            self.missing.append(f"cut short: it has no end; {self.end:.1f} s are there")
        elif announced - self.end > _SHORT:
            self.missing.append(f"cut short: {self.end:.1f} of {announced:.1f} s are there")


class _SoundFile(soundfile.SoundFile):  # type: ignore[misc]  # the library has no types
    """A file that is read from its beginning to its end."""

    def seekable(self) -> bool:
        # soundfile would seek to the current position after each block, and some decoders then lose their state
        return False


def _with_true_size(file: IO[bytes], header: Wave | None) -> View:
    """The file without its name, which libsndfile would use, and with the size "to the end" if its own size is wrong."""
    file.seek(0)
    cut = header is not None and header.whole < 0 and (header.announced or 0) > header.there
    if header is None or not (header.stale or cut):
        return View(file)
    return View(file, header.field, struct.pack(header.format, header.whole))


def _read_part(file: IO[bytes], start: int, size: int) -> bytes:
    file.seek(start)
    return file.read(size)
