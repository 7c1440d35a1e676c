"""Training on several data sets at once, each with a weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from condgen_cli.training.options import DataOptions, Options

__all__ = ["MixtureOptions", "Part", "Source", "take_epoch"]


class Source(Options):
    """``[[data.more]]``: a further data set.

    Args:
        dataset: name of the data set.
        options: its options, such as ``name`` and ``source``.
        weight: times that each example occurs in an epoch. With 2.5, a random half of the examples occurs a third time, the
            other half in the next epoch.
        dev: whether its dev split is scored too, separately.
    """

    dataset: str
    options: dict[str, str] = Field({})
    weight: float = Field(1.0, gt=0, le=100)
    dev: bool = False

    @property
    def label(self) -> str:
        """Name of its scores: ``zh-en-lctt`` for the file ``lctt`` of ``zh-en``."""
        return "-".join([self.dataset, *self.options.values()])


class MixtureOptions(DataOptions):
    """``[data]`` of models that train on one or more data sets; ``limit`` and ``dev_limit`` apply to each.

    Args:
        weight: times that each example occurs in an epoch, see ``Source``.
        more: further data sets to train on.
    """

    weight: float = Field(1.0, gt=0, le=100)
    more: list[Source] = Field([])

    @property
    def sources(self) -> list[Source]:
        """All data sets, the main one first."""
        return [Source(dataset=self.dataset, options=self.options, weight=self.weight), *self.more]


class Part(NamedTuple):
    """The range of a data set's examples among all examples.

    Args:
        start, size: index of the first example, and number of examples.
        weight: times that each example occurs in an epoch.
        seed: seed of the order in which the fractional part of the weight takes examples.
    """

    start: int
    size: int
    weight: float
    seed: Sequence[int]

    def epoch(self, epoch: int) -> NDArray[np.int64]:
        """Indices of an epoch's examples, with repetitions.

        Every example occurs as often as the integer part of ``weight``; the fractional part continues through one random order
        from where the previous epoch stopped.
        """
        whole = np.tile(np.arange(self.size), int(self.weight))
        some = round(self.weight % 1 * self.size)
        if some:
            order = np.random.default_rng(self.seed).permutation(self.size)
            whole = np.concatenate([whole, order[(epoch * some + np.arange(some)) % self.size]])
        return self.start + whole


def take_epoch(parts: Sequence[Part], epoch: int) -> NDArray[np.int64]:
    """Indices of an epoch's examples, each data set's as often as its weight says."""
    return np.concatenate([part.epoch(epoch) for part in parts])
