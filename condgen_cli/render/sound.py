"""The sound below positions in time: its loudness at each position, its spectrogram, its file."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from condgen_cli.errors import InputError
from condgen_cli.generation import Generation
from condgen_cli.render.panels import Panel

__all__ = ["BANDS", "Track", "kilohertz", "track"]

Floats = NDArray[np.float64]

BANDS = 80
"""Number of rows of a spectrogram."""

_QUIETEST = 40.0
"""Decibels below the loudest column from which on a column counts as silent."""
_FAINTEST = 6.0
"""Energy of a spectrogram's white below the strongest energy, in powers of ten."""
_FREQUENCIES = (0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Track:
    """A sound with the positions in time that attention is over.

    Args:
        samples: (n,) samples in [-1, 1].
        rate: samples per second.
        edges: (positions + 1,) beginning of each position and end of the last one, in seconds from the beginning of the sound.
    """

    samples: NDArray[np.float32]
    rate: int
    edges: Floats

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    def column_edges(self, size: int) -> Floats:
        """(columns + 1,) as ``edges``, for columns of ``size`` positions; the last column is as long as the others."""
        columns = -(-(len(self.edges) - 1) // size)
        places = np.arange(columns + 1) * size
        beyond = np.maximum(places - (len(self.edges) - 1), 0)
        return np.interp(places, np.arange(len(self.edges)), self.edges) + beyond * (self.edges[-1] - self.edges[-2])

    def loudness(self, size: int) -> Floats:
        """(columns,) loudness of columns of ``size`` positions, linear in decibels: 1 for the loudest, 0 at 40 dB below it."""
        bounds = np.rint(self.column_edges(size) * self.rate).astype(int).clip(0, len(self.samples))
        parts = [self.samples[start:end] for start, end in pairwise(bounds.tolist())]
        powers = np.array([np.square(part, dtype=np.float64).mean() if len(part) else 0.0 for part in parts])
        if not powers.any():
            return powers
        relative = np.maximum(powers / powers.max(), 10 ** (-_QUIETEST / 10))
        return 1 + 10 * np.log10(relative) / _QUIETEST

    def spectrogram(self, size: int, width: int) -> Image.Image:
        """Log-mel energies below columns of ``size`` positions, as a grey picture of ``width`` x 80 pixels.

        High frequencies are at the top, strong energies are black, no sound is white.
        """
        from condgen_cli.data.filterbank import Filterbank

        bank = Filterbank(bins=BANDS, rate=self.rate)
        energies = bank(self.samples).numpy().astype(np.float64)
        edges = self.column_edges(size)
        times = np.interp(np.linspace(0, len(edges) - 1, width + 1), np.arange(len(edges)), edges)
        if not len(energies):
            return Image.new("L", (width, BANDS), 255)
        # a frame covers the shift around its middle, the first and last one also the ends
        frames = (times - (bank.window - bank.shift) / 2) / bank.shift
        first = np.floor(frames[:-1]).astype(int).clip(0, len(energies) - 1)
        last = np.maximum(np.ceil(frames[1:]).astype(int).clip(0, len(energies)), first + 1)
        sums = np.concatenate([np.zeros((1, BANDS)), energies.cumsum(0)])
        means = (sums[last] - sums[first]) / (last - first)[:, None]
        top = energies.max()
        darkness = (1 + (means - top) / (_FAINTEST * math.log(10))).clip(0, 1)
        # otherwise the softest sound that a file can hold would look loud
        darkness[(times[:-1] >= self.seconds) | (top < 0)] = 0
        return Image.fromarray(np.rint(255 * (1 - darkness.T[::-1])).astype(np.uint8))

    def flac(self) -> bytes:
        """The sound as a FLAC file with 16 bits per sample."""
        import soundfile

        buffer = io.BytesIO()
        # libsndfile scales floats by 32767, which would change samples that were read from 16 bits
        samples = np.rint(self.samples.astype(np.float64) * 32768).clip(-32768, 32767).astype(np.int16)
        soundfile.write(buffer, samples, self.rate, format="FLAC", subtype="PCM_16")
        return buffer.getvalue()


def track(panel: Panel, generation: Generation) -> Track | None:
    """The sound below a panel's positions; None if they aren't times, or there is no sound."""
    if generation.condition is None or [axis.kind for axis in panel.axes] != ["time"]:
        return None
    # imports audio decoders, which other inputs don't need
    from condgen_cli.data.audio import Sound, load_audio

    if not isinstance(generation.condition, Sound):
        return None
    rate = generation.condition.rate
    try:
        samples = load_audio(generation.condition, rate)
    except InputError:
        return None
    edges = _edges(np.array(panel.axes[0].labels, np.float64), len(samples) / rate)
    return None if edges is None else Track(samples, rate, edges)


def _edges(starts: Floats, seconds: float) -> Floats | None:
    """Beginnings of the positions and the last end, relative to the first beginning; None unless times are ascending."""
    lengths = np.diff(starts)
    if not np.isfinite(starts).all() or (lengths <= 0).any():
        return None
    last = np.median(lengths) if len(lengths) else seconds
    return np.append(starts, starts[-1] + last) - starts[0]


def kilohertz(rate: int) -> list[tuple[float, str]]:
    """Labels of frequencies beside a spectrogram: (height from 0 to 1, name)."""
    from condgen_cli.data.filterbank import Filterbank

    bank = Filterbank(bins=BANDS, rate=rate)

    def mel(frequency: float) -> float:
        return math.log1p(frequency / 700)

    low, high = mel(bank.low_frequency), mel(rate / 2)
    # the centre of band b is (b + 1) / (bands + 1) of the way up, and is drawn at b + 1/2
    places = [((mel(1000 * f) - low) / (high - low) * (BANDS + 1) - 0.5) / BANDS for f in _FREQUENCIES]
    return [(place, f"{f:g} kHz") for place, f in zip(places, _FREQUENCIES, strict=True) if 0 < place < 0.97]
