"""Sound of any kind as mono samples: whole, or a long recording in parts."""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from condgen_cli.data.content import read_content
from condgen_cli.data.silence import Samples, Segment, cut_at_silences
from condgen_cli.errors import InputError
from condgen_cli.sources import Source

__all__ = ["MAX_SECONDS", "Segment", "Sound", "load_audio", "read_segments"]

MAX_SECONDS = 3600
"""``load_audio`` refuses what lasts longer; ``read_segments`` takes it."""

_RATES = range(1_000, 768_001)
"""Samples a second that a recording may have; others stand in broken headers."""

_BLOCK = 1 << 18
"""Values, of all channels together, that are decoded at a time."""

_PEAK = 16.0
"""Lossy codecs and mixers pass full scale, 1, by a little; samples beyond this are damaged or in another unit."""

_UNKNOWN_SIZE = 0x7FFF_0000
"""Sizes from here on stand in headers of files that were written to a pipe, before their size was known."""

_UNKNOWN_FORMAT = ("Format not recognised", "not a regular file")
"""What libsndfile says of other files; the second of those named .mp3."""

# what libsndfile notes about files that it reads all the same
_SHORT = re.compile(r"^ *(?:data|SSND) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
_NO_END = "end-of-stream bit"
_DAMAGE = ("Corrupted bitstream", "reports a hole")


class Sound(NamedTuple):
    """A sound decoded already.

    Args:
        samples: (samples,) or (samples, channels), floats in [-1, 1].
        rate: samples a second.
    """

    samples: NDArray[np.floating[Any]]
    rate: int


def load_audio(source: Any, rate: int = 16_000) -> Samples:
    """A sound as mono samples (samples,) in [-1, 1]: channels averaged, resampled to ``rate`` a second.

    What can be seen to be damaged or cut short is refused. Uncompressed samples show no damage, and an MP3 may end anywhere.

    Args:
        source: a path, a URL, the bytes of a file (WAV, FLAC, Ogg Vorbis, Opus, MP3 or another that libsndfile knows), an
            object whose ``open()`` gives such bytes, or a ``Sound``.
    Raises:
        NotFoundError: if the file doesn't exist.
        NetworkError: if a URL can't be fetched.
        InputError: if it is no sound, is broken, has no samples or such as are no numbers, or lasts more than ``MAX_SECONDS``.
    """
    return np.concatenate(list(_read(source, rate, MAX_SECONDS)))


def read_segments(source: Any, rate: int = 16_000, longest: float = 20.0, whole: float | None = None) -> Iterator[Segment]:
    """The parts of a recording between its silences, as ``cut_at_silences`` finds them, each as soon as it is known.

    A recording of at most ``whole`` seconds comes whole; a silent one gives no segment. A long one is decoded piece by piece,
    and a file on disk is read so too: memory doesn't grow with its length.

    Args:
        source: as for ``load_audio``, of any length.
        rate: samples a second of the segments.
        longest: seconds that a segment may last; 1 or more.
        whole: default, and at most: ``longest``.
    Raises:
        UsageError: if ``longest`` is below 1.
        NotFoundError, NetworkError, InputError: as ``load_audio``, when the first segment is asked for; or, where a long
            recording turns out to be damaged later on, after the segments that come before.
    """
    return cut_at_silences(_read(source, rate, math.inf), rate, longest, whole)


class _Stream(soundfile.SoundFile):  # type: ignore[misc]  # the library has no types
    """A file read from its beginning to its end."""

    def seekable(self) -> bool:
        # soundfile would seek after each block, to where the file is already; the MP3 decoder then loses what frames share
        return False


def _read(source: Any, rate: int, most: float) -> Iterator[Samples]:
    """Mono samples at ``rate``, block by block; ``most`` seconds at most."""
    if isinstance(source, Sound):
        yield from _converted(_sliced(source.samples), "the sound", source.rate, rate, most)
        return
    name, file = _open(source)
    with file:
        yield from _converted(_decoded(file, name), name, file.samplerate, rate, most)


def _open(source: Any) -> tuple[str, _Stream]:
    """What to call a source in a message, and its file."""
    path = source.name if isinstance(source, Source) else source
    opened: str | io.BytesIO
    if isinstance(path, str | os.PathLike) and os.path.isfile(path) and os.access(path, os.R_OK):
        name = opened = os.fspath(path)
        empty = not os.path.getsize(path)
    else:
        name, data = read_content(source, "a sound")
        opened, empty = io.BytesIO(data), not data
    if empty:
        raise InputError(f"{name} is empty")
    try:
        file = _Stream(opened)
    except soundfile.LibsndfileError as error:
        if any(note in error.error_string for note in _UNKNOWN_FORMAT):
            raise InputError(f"{name} is not a sound file of a known format") from None
        raise InputError(f"{name} is a broken sound file: {error.error_string.rstrip('.')}") from None
    except TypeError:  # samples without a header, by the file's suffix
        raise InputError(f"{name} is not a sound file of a known format") from None
    try:
        _check_whole(file, name)
    except InputError:
        file.close()
        raise
    return name, file


def _check_whole(file: _Stream, name: str) -> None:
    """A file may be cut short and read without an error; what is noted when it is opened tells."""
    notes = file.extra_info
    short = _SHORT.search(notes)
    if short:
        announced, found = int(short[1]), int(short[2])
        # some writers count a few bytes too many
        if found < 0.99 * announced and announced < _UNKNOWN_SIZE:
            raise InputError(f"{name} is cut short: {found} of {announced} bytes of sound are there")
    if _NO_END in notes:
        raise InputError(f"{name} is cut short: its stream has no end")


def _decoded(file: _Stream, name: str) -> Iterator[NDArray[np.float32]]:
    """Blocks (samples, channels) of a file."""
    done = 0
    while True:
        try:
            block = file.read(max(_BLOCK // file.channels, 1), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            reason = error.error_string.removeprefix("Error : ").rstrip(".")
            raise InputError(f"{name} is broken after {done / file.samplerate:.1f} s: {reason}") from None
        if any(note in file.extra_info for note in _DAMAGE):
            raise InputError(f"{name} is broken: a part of it can't be decoded")
        if not len(block):
            break
        done += len(block)
        yield block
    # the length of an MP3 may be a guess
    if done < file.frames and file.format != "MP3":
        raise InputError(f"{name} is cut short: {done} of {file.frames} samples are there")


def _sliced(samples: NDArray[np.floating[Any]]) -> Iterator[NDArray[np.floating[Any]]]:
    """Blocks (samples, channels) of a decoded sound."""
    if not np.issubdtype(samples.dtype, np.floating) or samples.ndim not in (1, 2):
        raise InputError(f"samples must be floats, (samples,) or (samples, channels), not {samples.dtype} {samples.shape}")
    for start in range(0, len(samples), _BLOCK):
        block = samples[start : start + _BLOCK]
        yield block if block.ndim == 2 else block[:, None]


def _converted(
    blocks: Iterable[NDArray[np.floating[Any]]], name: str, from_rate: int, rate: int, most: float
) -> Iterator[Samples]:
    """Blocks (samples, channels) at ``from_rate`` as mono blocks at ``rate``."""
    if from_rate not in _RATES:
        raise InputError(f"{name} has {from_rate} samples a second; {_RATES[0]} to {_RATES[-1]} can be read")
    resampler = soxr.ResampleStream(from_rate, rate, 1, dtype="float32") if from_rate != rate else None
    size = 0
    for block in blocks:
        size += len(block)
        if size > most * from_rate:
            raise InputError(f"{name} lasts more than {most / 60:.0f} minutes")
        mono = block.mean(axis=1, dtype=np.float32)
        peak = float(np.abs(mono).max(initial=0.0))
        if not math.isfinite(peak):
            raise InputError(f"{name} has samples that are no numbers")
        if peak > _PEAK:
            raise InputError(f"{name} has samples of {peak:.4g}, where full scale is 1")
        yield (resampler.resample_chunk(mono) if resampler else mono).clip(-1.0, 1.0)
    if not size:
        raise InputError(f"{name} has no samples")
    if resampler:
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True).clip(-1.0, 1.0)
