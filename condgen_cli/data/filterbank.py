"""Log-mel filter banks by Kaldi's definition, and their normalisation."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor
from torch.nn import functional

__all__ = ["Filterbank", "normalise"]

_FULL_SCALE = 32768.0
"""Full scale of Kaldi's samples, which are 16-bit integers."""

_BLOCK = 4096
"""Number of frames that are computed at a time, which limits the memory for long sounds."""


class Filterbank(BaseModel):
    """Log energies of frames of sound in overlapping bands, evenly spaced on the mel scale.

    The definition is that of Kaldi's ``compute-fbank-feats`` without dither: frames are entirely inside the sound; each has its
    mean subtracted, preemphasis and a Povey window applied; its power spectrum is summed in triangular bands of the mel scale
    1127 ln(1 + f / 700). Samples are in [-1, 1] and are scaled to the 16 bits that Kaldi expects.

    Args:
        bins: number of bands.
        rate: samples per second.
        window, shift: length of a frame and distance between frames, in seconds.
        low_frequency, high_frequency: beginning of the first band and end of the last one, in hertz; 0 for the latter means
            half the rate.
        preemphasis: share of the previous sample that is subtracted from each sample.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    bins: int = Field(default=80, ge=1)
    rate: int = Field(default=16_000, ge=1_000)
    window: float = Field(default=0.025, gt=0)
    shift: float = Field(default=0.010, gt=0)
    low_frequency: float = Field(default=20.0, ge=0)
    high_frequency: float = Field(default=0.0, ge=0)
    preemphasis: float = Field(default=0.97, ge=0, le=1)

    @model_validator(mode="after")
    def _check(self) -> Filterbank:
        if not self.low_frequency < self._top <= self.rate / 2:
            raise ValueError("low_frequency must be below high_frequency, and that at most half the rate")
        if self.window_size < 2 or self.shift_size < 1:
            raise ValueError("window or shift is too short for the rate")
        return self

    @property
    def window_size(self) -> int:
        """Number of samples in a frame."""
        return math.floor(self.rate * self.window + 1e-6)

    @property
    def shift_size(self) -> int:
        """Number of samples from one frame to the next."""
        return math.floor(self.rate * self.shift + 1e-6)

    def frames(self, samples: int) -> int:
        """Number of frames of a sound with ``samples`` samples."""
        return max(0, 1 + (samples - self.window_size) // self.shift_size)

    def __call__(self, samples: NDArray[np.floating[Any]] | Tensor) -> Tensor:
        """Log-mel energies (frames, bins) of samples (n,) in [-1, 1]; no frames if there are fewer samples than a window.

        The result is float32, on the samples' device.
        """
        sound = torch.as_tensor(samples).float()
        if not self.frames(len(sound)):
            return sound.new_zeros(0, self.bins)
        windows = sound.unfold(0, self.window_size, self.shift_size)
        return torch.cat([self._energies(block) for block in torch.split(windows, _BLOCK)])

    def _energies(self, windows: Tensor) -> Tensor:
        taper, banks = self._taper.to(windows.device), self._banks.to(windows.device)
        windows = (windows - windows.mean(1, keepdim=True)) * _FULL_SCALE
        before = functional.pad(windows[:, None], (1, 0), mode="replicate")[:, 0, :-1]
        spectrum = torch.fft.rfft((windows - self.preemphasis * before) * taper, self._fft_size)
        power = spectrum.real.square() + spectrum.imag.square()
        return (power[:, :-1] @ banks).clamp_min(torch.finfo(torch.float32).eps).log()

    @property
    def _top(self) -> float:
        return self.high_frequency or self.rate / 2

    @property
    def _fft_size(self) -> int:
        return 1 << (self.window_size - 1).bit_length()

    @cached_property
    def _taper(self) -> Tensor:
        """The Povey window (window_size,): a Hann window to the power 0.85."""
        return torch.hann_window(self.window_size, periodic=False, dtype=torch.float64).pow(0.85).float()

    @cached_property
    def _banks(self) -> Tensor:
        """Weights (fft_size / 2, bins) in each band of the frequencies from 0 to below half the rate."""
        frequencies = torch.arange(self._fft_size // 2, dtype=torch.float64) * (self.rate / self._fft_size)
        low, high = _mel(torch.tensor([self.low_frequency, self._top], dtype=torch.float64)).tolist()
        edges = torch.linspace(low, high, self.bins + 2, dtype=torch.float64)
        mels = _mel(frequencies)[:, None]
        rising = (mels - edges[:-2]) / (edges[1:-1] - edges[:-2])
        falling = (edges[2:] - mels) / (edges[2:] - edges[1:-1])
        return torch.minimum(rising, falling).clamp_min(0).float()


def normalise(features: Tensor) -> Tensor:
    """Features (frames, bins) normalised to mean 0 and variance 1 over the frames; a constant bin becomes 0."""
    if not len(features):
        return features
    centred = features - features.mean(0)
    return centred / centred.square().mean(0).sqrt().clamp_min(1e-5)


def _mel(frequencies: Tensor) -> Tensor:
    return 1127.0 * torch.log1p(frequencies / 700.0)
