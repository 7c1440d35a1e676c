"""Sound of any kind as mono samples: whole, or a long recording in parts."""

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
"""``load_audio`` refuses what lasts longer; ``read_segments`` takes it."""

_PEAK = 16.0
"""Lossy codecs and mixers pass full scale, 1, by a little; samples beyond this are damaged or in another unit."""

_FEW = 0.01
"""Share of a block's samples that may be damaged; where more are, they are in another unit, or no samples."""


def load_audio(source: Any, rate: int = 16_000) -> Samples:
    """A sound as mono samples (samples,) in [-1, 1]: channels averaged as ``mix_channels`` has it, resampled to ``rate`` a second.

    A recording of which something is missing is refused, as far as that can be seen: what was written down for it would not be
    what it holds. ``Recording`` and ``read_segments`` take it.

    Args:
        source: a path, a URL, the bytes of a file (of any format that libsndfile or FFmpeg knows, a film's too), a
            ``condgen_cli.item.Content``, a ``Sound``, or a ``Recording``.
    Raises:
        NotFoundError: if the file doesn't exist.
        NetworkError: if a URL can't be fetched.
        InputError: if it is no sound, is broken, is incomplete, has no samples or such as are no numbers, or lasts more than
            ``MAX_SECONDS``.
    """
    recording = _recording(source)
    samples = np.concatenate(list(_read(recording, rate, MAX_SECONDS)))
    if recording.missing:
        raise InputError(f"{recording.name} is {recording.missing[0]}")
    return samples


def read_segments(source: Any, rate: int = 16_000, longest: float = 20.0, whole: float | None = None) -> Iterator[Segment]:
    """The parts of a recording between its silences, as ``cut_at_silences`` finds them, each as soon as it is known.

    A recording of at most ``whole`` seconds comes whole; a silent one gives no segment. A long one is decoded piece by piece,
    and a file on disk or a pipe is read so too: memory doesn't grow with its length. Of a damaged one is used
    what is there.

    Args:
        source: as for ``load_audio``, of any length. A ``Recording`` tells afterwards what was wrong.
        rate: samples a second of the segments.
        longest: seconds that a segment may last; 1 or more.
        whole: default, and at most: ``longest``.
    Raises:
        UsageError: if ``longest`` is below 1.
        NotFoundError, NetworkError, InputError: as ``load_audio``, when the first segment is asked for.
    """
    return cut_at_silences(_read(source, rate, math.inf), rate, longest, whole)


def _recording(source: Any) -> Recording:
    return source if isinstance(source, Recording) else Recording(source)


def _read(source: Any, rate: int, most: float) -> Iterator[Samples]:
    """Mono samples at ``rate``, block by block; ``most`` seconds at most."""
    recording = _recording(source)
    try:
        yield from _convert(recording, rate, most)
    finally:
        recording.close()


def _convert(recording: Recording, rate: int, most: float) -> Iterator[Samples]:
    """A recording as mono blocks at ``rate``."""
    cleaner = _Cleaner(recording.name)

    def check_blocks() -> Iterator[Block]:
        for samples, its_rate in recording.blocks():
            check_rate(recording.name, its_rate)
            if recording.end > most:
                raise InputError(f"{recording.name} lasts more than {most / 60:.0f} minutes")
            yield cleaner.clean(samples), its_rate

    # a broadcast may go from mono to stereo
    for (from_rate, _), alike in groupby(check_blocks(), lambda block: (block[1], block[0].shape[1])):
        resampler = soxr.ResampleStream(from_rate, rate, 1, dtype="float32") if from_rate != rate else None
        for mono in mix_channels((samples for samples, _ in alike), from_rate):
            yield (resampler.resample_chunk(mono) if resampler else mono).clip(-1.0, 1.0)
        if resampler:
            yield resampler.resample_chunk(np.zeros(0, np.float32), last=True).clip(-1.0, 1.0)
    recording.missing += cleaner.warnings()


class _Cleaner:
    """Silences samples that can't be sound.

    Args:
        name: of the recording, for messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.bad = 0
        self.all = 0

    def clean(self, samples: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """The same samples (samples, channels), those that are no numbers or far above full scale being 0.

        Raises:
            InputError: if so many are above full scale that they are in another unit.
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
        """What the user should know, a line each.

        Raises:
            InputError: if no sample is a number.
        """
        if self.bad == self.all:
            raise InputError(f"{self.name} has samples that are no numbers")
        return [f"damaged: {self.bad} of its {self.all} samples are no sound and are silent"] if self.bad else []
