"""Sound from any source as mono samples: a whole sound, or a long recording in segments."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from condgen_cli.data.mixing import mix_channels
from condgen_cli.data.recording import Recording
from condgen_cli.data.silence import Samples, Segment, cut_at_silences
from condgen_cli.data.sound import Block, Sound, check_rate
from condgen_cli.errors import InputError

__all__ = ["MAX_SECONDS", "Recording", "Segment", "Sound", "load_audio", "read_segments"]

MAX_SECONDS = 3600
"""Maximum length of a sound for ``load_audio``; ``read_segments`` has no limit."""

_PEAK = 16.0
"""Largest valid absolute sample: lossy codecs and mixers exceed full scale, 1, a little; larger ones are damaged or in another
unit."""

_FEW = 0.01
"""Maximum share of damaged samples in a block; if there are more, samples are in another unit, or aren't sound."""


def load_audio(source: Any, rate: int = 16_000) -> Samples:
    """Load a sound as mono samples (samples,) in [-1, 1], with channels mixed by ``mix_channels``.

    An incomplete recording is refused, as far as that can be detected, since a transcript of it would be incomplete.
    ``Recording`` and ``read_segments`` accept it.

    Args:
        source: path, URL or bytes of a file (in any format that libsndfile or FFmpeg supports, video included), a
            ``condgen_cli.item.Content``, a ``Sound``, or a ``Recording``.
        rate: samples per second of the result.
    Raises:
        NotFoundError: if the file doesn't exist.
        NetworkError: if a URL can't be fetched.
        InputError: if it is not sound, is broken or incomplete, has no valid samples, or is longer than ``MAX_SECONDS``.
    """
    recording = _recording(source)
    samples = np.concatenate(list(_read(recording, rate, MAX_SECONDS)))
    if recording.missing:
        raise InputError(f"{recording.name} is {recording.missing[0]}")
    return samples


def read_segments(source: Any, rate: int = 16_000, longest: float = 20.0, whole: float | None = None) -> Iterator[Segment]:
    """The segments of a recording between its silences, from ``cut_at_silences``, each as soon as it is complete.

    A recording of at most ``whole`` seconds is one segment; a silent one has none. Files and pipes are read and decoded piece
    by piece, so memory doesn't grow with their length. What can be decoded of a damaged recording is used.

    Args:
        source: source as for ``load_audio``, of any length; a ``Recording`` has warnings afterwards.
        rate: samples per second of the segments.
        longest: maximum length of a segment in seconds, at least 1.
        whole: maximum length in seconds of a recording that isn't cut; at most, and by default, ``longest``.
    Raises:
        UsageError: if ``longest`` is below 1.
        NotFoundError, NetworkError, InputError: as ``load_audio``, when the first segment is requested.
    """
    return cut_at_silences(_read(source, rate, math.inf), rate, longest, whole)


def _recording(source: Any) -> Recording:
    return source if isinstance(source, Recording) else Recording(source)


def _read(source: Any, rate: int, most: float) -> Iterator[Samples]:
    """Mono samples at ``rate``, block by block, of a source of at most ``most`` seconds."""
    recording = _recording(source)
    try:
        yield from _convert(recording, rate, most)
    finally:
        recording.close()


def _convert(recording: Recording, rate: int, most: float) -> Iterator[Samples]:
    """A recording as blocks of mono samples at ``rate``."""
    cleaner = _Cleaner(recording.name)

    def check_blocks() -> Iterator[Block]:
        for samples, its_rate in recording.blocks():
            check_rate(recording.name, its_rate)
            if recording.end > most:
                raise InputError(f"{recording.name} lasts more than {most / 60:.0f} minutes")
            yield cleaner.clean(samples), its_rate

    # a broadcast may change from mono to stereo
    for (from_rate, _), alike in groupby(check_blocks(), lambda block: (block[1], block[0].shape[1])):
        resampler = soxr.ResampleStream(from_rate, rate, 1, dtype="float32") if from_rate != rate else None
        for mono in mix_channels((samples for samples, _ in alike), from_rate):
            yield (resampler.resample_chunk(mono) if resampler else mono).clip(-1.0, 1.0)
        if resampler:
            yield resampler.resample_chunk(np.zeros(0, np.float32), last=True).clip(-1.0, 1.0)
    recording.missing += cleaner.warnings()


class _Cleaner:
    """Replaces invalid samples by silence.

    Args:
        name: name of the recording, for messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.bad = 0
        self.all = 0

    def clean(self, samples: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Samples (samples, channels) with 0 in place of NaN, infinities and samples far above full scale.

        Raises:
            InputError: if so many are above full scale that samples must be in another unit.
        """
        self.all += samples.size
        with np.errstate(invalid="ignore"):
            sane = np.abs(samples) <= _PEAK
        if sane.all():
            return samples.astype(np.float32, copy=False)
        finite = np.isfinite(samples)
        high = finite & ~sane
        if high.sum() > _FEW * samples.size:
            peak = float(np.abs(samples[high]).max())
            raise InputError(f"{self.name} has samples of {peak:.4g}, where full scale is 1")
        self.bad += int((~sane).sum())
        return np.where(sane, samples, 0).astype(np.float32)

    def warnings(self) -> list[str]:
        """Warnings for the user, one line each, after the last block.

        Raises:
            InputError: if no sample is valid.
        """
        if self.bad == self.all:
            raise InputError(f"{self.name} has no valid samples")
        return [f"damaged: {self.bad} of its {self.all} samples are invalid and were silenced"] if self.bad else []
