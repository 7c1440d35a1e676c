"""From a hypothesis to a generation: token texts, and attention maps with labelled axes and without padding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from condgen_cli.arrays import arrays_of
from condgen_cli.contract import Memory, Vocabulary
from condgen_cli.generation import AttentionMap, Axis, Generation
from condgen_cli.running.decoding import Hypothesis

__all__ = ["Positions", "make_generation", "row_positions"]


@dataclass(frozen=True)
class Positions:
    """The positions of one memory row.

    Args:
        axes: axes of the real positions.
        count: number of positions including padding.
        mask: (count,), True for real positions; None if all are real.
    """

    axes: tuple[Axis, ...]
    count: int
    mask: NDArray[np.bool_] | None

    def map(self, weights: NDArray[np.float32], steps: Axis) -> AttentionMap:
        """The map of weights (steps, positions) or (steps, heads, positions), without padding."""
        heads = (Axis.numbered("head", "heads", weights.shape[1]),) if weights.ndim == 3 else ()
        axes = self.axes
        if weights.shape[-1] != self.count:  # attention over something other than the memory
            axes = ()
        elif self.mask is not None:
            weights = weights[..., self.mask]
        axes = (steps, *heads, *(axes or (Axis.numbered("position", "slots", weights.shape[-1]),)))
        return AttentionMap(weights.reshape([len(axis) for axis in axes]), axes)


def row_positions(memory: Memory) -> Iterator[Positions]:
    """The positions of each row of a memory."""
    masks = None if memory.mask is None else arrays_of(memory.mask).to_numpy(memory.mask)
    for row in range(len(memory)):
        axes = tuple(memory.axes[row]) if memory.axes else ()
        yield Positions(axes, memory.values.shape[1], None if masks is None else masks[row])


def make_generation(
    hypothesis: Hypothesis, output: str, vocabulary: Vocabulary, positions: Positions, condition: Any
) -> Generation:
    """The generation of a hypothesis.

    Args:
        hypothesis: the decoded sequence.
        output: its text.
        vocabulary: vocabulary of its tokens.
        positions: positions of its memory row.
        condition: background that attention is drawn on.
    """
    tokens = tuple(vocabulary.token(index) for index in hypothesis.ids)
    steps = Axis("token", "tokens", tokens)
    return Generation(
        output=output,
        tokens=tokens,
        log_probs=hypothesis.log_probs,
        score=hypothesis.score,
        attention={name: positions.map(weights, steps) for name, weights in hypothesis.attention.items()},
        condition=condition,
        extras={name: values for name, values in hypothesis.extras.items() if values.ndim == 1},
    )
