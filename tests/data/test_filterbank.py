"""Filter banks are Kaldi's, and safe for sounds of any length."""

from __future__ import annotations

import json

import kaldi_native_fbank as kaldi
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from condgen_cli.data.filterbank import Filterbank, normalise


def chirp(rate: int, seconds: float = 1.3) -> NDArray[np.float32]:
    """A tone that rises through all frequencies, getting louder, with noise and an offset."""
    times = np.arange(round(rate * seconds)) / rate
    tone = np.sin(np.pi * rate / 2 * times**2 / seconds) * times / seconds
    return (0.4 * tone + 0.01 * np.random.default_rng(0).standard_normal(len(times)) + 0.05).astype(np.float32)


def of_kaldi(samples: NDArray[np.float32], filterbank: Filterbank) -> NDArray[np.float32]:
    options = kaldi.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.samp_freq = filterbank.rate
    options.frame_opts.frame_length_ms = filterbank.window * 1000
    options.frame_opts.frame_shift_ms = filterbank.shift * 1000
    options.frame_opts.preemph_coeff = filterbank.preemphasis
    options.mel_opts.num_bins = filterbank.bins
    options.mel_opts.low_freq = filterbank.low_frequency
    options.mel_opts.high_freq = filterbank.high_frequency
    computer = kaldi.OnlineFbank(options)
    computer.accept_waveform(filterbank.rate, (samples * 32768).tolist())
    computer.input_finished()
    return np.stack([computer.get_frame(index) for index in range(computer.num_frames_ready)])


@pytest.mark.parametrize(
    "filterbank",
    [
        Filterbank(),
        Filterbank(bins=40, rate=8000),
        Filterbank(bins=23, rate=11_025, window=0.032, shift=0.0125),
        Filterbank(rate=22_050, low_frequency=64, high_frequency=7600, preemphasis=0.9),
        Filterbank(bins=128, rate=44_100),
    ],
    ids=lambda filterbank: f"{filterbank.rate} Hz",
)
def test_equals_kaldi(filterbank: Filterbank) -> None:
    samples = chirp(filterbank.rate)
    features = filterbank(samples)
    assert features.dtype == torch.float32
    np.testing.assert_allclose(features, of_kaldi(samples, filterbank), atol=0.01)


def test_digital_silence_is_kaldis_floor() -> None:
    silence = np.zeros(4000, np.float32)
    features = Filterbank()(silence)
    np.testing.assert_allclose(features, of_kaldi(silence, Filterbank()))
    assert torch.isfinite(features).all()


def test_number_of_frames() -> None:
    filterbank = Filterbank()
    for samples, frames in [(0, 0), (1, 0), (399, 0), (400, 1), (559, 1), (560, 2), (16_000, 98)]:
        assert filterbank.frames(samples) == frames
        assert filterbank(np.full(samples, 0.1, np.float32)).shape == (frames, 80)


def test_a_frame_depends_on_its_window_only() -> None:
    samples = chirp(4000, 45)  # more frames than are computed at a time
    filterbank = Filterbank(bins=20, rate=4000)
    whole = filterbank(torch.from_numpy(samples))
    for frame in (0, 1, 4095, 4096, len(whole) - 1):
        alone = filterbank(samples[frame * 40 : frame * 40 + 100])
        torch.testing.assert_close(alone[0], whole[frame], rtol=0, atol=1e-3)


def test_settings_are_plain_and_checked() -> None:
    filterbank = Filterbank(bins=40, rate=8000)
    stored = json.loads(filterbank.model_dump_json())
    assert Filterbank.model_validate(stored) == filterbank
    for wrong in ({"bins": 0}, {"rate": 8000, "high_frequency": 5000}, {"low_frequency": 9000}, {"window": 1e-5}, {"bands": 3}):
        with pytest.raises(ValidationError):
            Filterbank.model_validate(wrong)


def test_normalise() -> None:
    features = Filterbank(bins=10)(chirp(16_000))
    normal = normalise(features * 3 + 7)
    torch.testing.assert_close(normal.mean(0), torch.zeros(10), rtol=0, atol=1e-5)
    torch.testing.assert_close(normal.std(0, correction=0), torch.ones(10))
    torch.testing.assert_close(normalise(features), normal, rtol=0, atol=1e-4)


def test_normalise_what_does_not_vary() -> None:
    assert normalise(torch.zeros(0, 5)).shape == (0, 5)
    assert normalise(torch.full((1, 5), -16.0)).tolist() == [[0.0] * 5]
    assert normalise(torch.full((7, 2), 0.1)).abs().max() < 1e-2
