"""Channels of a recording as one, so that what is heard in any of them is heard in the mix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["mix_channels"]

_WINDOW = 0.5
"""Seconds over which it is judged whether channels are in opposite phase."""

_FADE = 0.01
"""Seconds in which a channel is turned over, so that it doesn't click."""


def mix_channels(blocks: Iterable[NDArray[np.float32]], rate: int) -> Iterator[NDArray[np.float32]]:
    """The average of the channels, block after block, with those turned over that are in opposite phase to the loudest.

    A microphone whose wires are swapped and a balanced line that is recorded as stereo cancel in a plain average. Here the mix
    has at least a half of the loudest channel's level, divided by the number of channels. How the samples are cut into blocks
    doesn't matter.

    Args:
        blocks: (samples, channels) each, of the same number of channels.
        rate: samples a second.
    Returns:
        blocks of other sizes (samples,).
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
    """Mixes windows that follow one another.

    Args:
        channels: 2 or more.
        fade: samples in which a channel is turned over.
    """

    def __init__(self, channels: int, fade: int) -> None:
        self.fade = fade
        # with all correlations above it, those that are negative take away at most half of the loudest channel
        self.least = -0.5 / (channels - 1)
        self.signs: NDArray[np.float32] | None = None

    def mix(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """(samples, channels) as (samples,)."""
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
        """1 or -1 for each channel, what it was before unless it takes too much from the loudest."""
        centred = window - window.mean(axis=0, dtype=np.float32)
        products = (centred.T @ centred).astype(np.float64)
        powers = products.diagonal()
        loudest = int(powers.argmax())
        signs = np.ones(len(powers), np.float32) if self.signs is None else self.signs.copy()
        with np.errstate(divide="ignore", invalid="ignore"):
            alike = np.nan_to_num(products[loudest] / np.sqrt(powers[loudest] * powers)) * signs * signs[loudest]
        return np.where(alike < self.least, -signs, signs).astype(np.float32)


def _windows(blocks: Iterable[NDArray[np.float32]], size: int) -> Iterator[NDArray[np.float32]]:
    """The same samples in windows of ``size``, the last one shorter."""
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
