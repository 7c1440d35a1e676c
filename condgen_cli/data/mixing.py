"""Mixing the channels of a recording to mono so that no sound is cancelled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["mix_channels"]

_WINDOW = 0.5
"""Length in seconds of the windows in which opposite phase is detected."""

_FADE = 0.01
"""Length in seconds of the fade when a channel is inverted, which avoids a click."""


def mix_channels(blocks: Iterable[NDArray[np.float32]], rate: int) -> Iterator[NDArray[np.float32]]:
    """Average the channels block by block, after inverting those in opposite phase to the loudest.

    In a plain average, a microphone with swapped wires or a balanced line recorded as stereo would be cancelled. Here the mix
    has at least half of the loudest channel's level, divided by the number of channels. The result doesn't depend on how the
    samples are divided into blocks.

    Args:
        blocks: blocks (samples, channels) with the same number of channels.
        rate: samples per second.
    Returns:
        mono blocks (samples,) of other sizes.
    """
    window = max(int(rate * _WINDOW), 1)
    mixer: _Mixer | None = None
    for block in _windows(blocks, window):
        if block.shape[1] == 1:
            yield block[:, 0]
            continue
        mixer = mixer or _Mixer(block.shape[1], max(int(rate * _FADE), 1))
        yield mixer.mix(block)


class _Mixer:
    """Mixes consecutive windows.

    Args:
        channels: number of channels, at least 2.
        fade: length of the fade in samples when a channel is inverted.
    """

    def __init__(self, channels: int, fade: int) -> None:
        self.fade = fade
        # with all correlations above this, negative ones cancel at most half of the loudest channel
        self.least = -0.5 / (channels - 1)
        self.signs: NDArray[np.float32] | None = None

    def mix(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mix a window (samples, channels) to mono (samples,)."""
        before, signs = self.signs, self._signs(window)
        self.signs = signs
        if before is None or (before == signs).all():
            mono: NDArray[np.float32] = (
                window.mean(axis=1, dtype=np.float32) if (signs > 0).all() else window @ (signs / np.float32(len(signs)))
            )
            return mono
        gains = np.repeat(signs[None], len(window), axis=0)
        ramp = np.linspace(0, 1, min(self.fade, len(window)), dtype=np.float32)[:, None]
        gains[: len(ramp)] = before + ramp * (signs - before)
        return (window * gains).mean(axis=1, dtype=np.float32)

    def _signs(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """1 or -1 for each channel: unchanged, unless the channel would cancel too much of the loudest."""
        centred = window - window.mean(axis=0, dtype=np.float32)
        products = (centred.T @ centred).astype(np.float64)
        powers = products.diagonal()
        loudest = int(powers.argmax())
        signs = np.ones(len(powers), np.float32) if self.signs is None else self.signs.copy()
        with np.errstate(divide="ignore", invalid="ignore"):
            alike = np.nan_to_num(products[loudest] / np.sqrt(powers[loudest] * powers)) * signs * signs[loudest]
        return np.where(alike < self.least, -signs, signs).astype(np.float32)


def _windows(blocks: Iterable[NDArray[np.float32]], size: int) -> Iterator[NDArray[np.float32]]:
    """The same samples in windows of ``size``; the last one may be shorter."""
    held: list[NDArray[np.float32]] = []
    count = 0
    for block in blocks:
        held.append(block)
        count += len(block)
        if count >= size:
            whole = np.concatenate(held)
            end = count // size * size
            yield from (whole[start : start + size] for start in range(0, end, size))
            held, count = [whole[end:]], count - end
    if count:
        yield np.concatenate(held)
