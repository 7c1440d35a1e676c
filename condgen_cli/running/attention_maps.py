"""From a hypothesis to a generation: tokens as text, attention cut to the real positions and laid on the memory's axes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from condgen_cli.generation import AttentionMap, Axis, Generation
from condgen_cli.model import Memory, Vocabulary
from condgen_cli.running.decoding import Hypothesis

__all__ = ["Positions", "make_generation", "row_positions"]


@dataclass(frozen=True)
class Positions:
    """Where one memory row's positions lie.

    Args:
        axes: of the real positions.
        count: of all positions, padding included.
        mask: (count,), True where a position is real; None if all are.
    """

    axes: tuple[Axis, ...]
    count: int
    mask: NDArray[np.bool_] | None

    def map(self, weights: NDArray[np.float32], steps: Axis) -> AttentionMap:
        """Weights (steps, positions) or (steps, heads, positions) with the row's axes."""
        heads = (Axis.numbered("head", "heads", weights.shape[1]),) if weights.ndim == 3 else ()
        axes = self.axes
        if weights.shape[-1] != self.count:  # it looks at something else than the memory
            axes = ()
        elif self.mask is not None:
            weights = weights[..., self.mask]
        axes = (steps, *heads, *(axes or (Axis.numbered("position", "slots", weights.shape[-1]),)))
        return AttentionMap(weights.reshape([len(axis) for axis in axes]), axes)


def row_positions(memory: Memory) -> Iterator[Positions]:
    """Of each row of a memory."""
    masks = None if memory.mask is None else memory.mask.cpu().numpy()
    for row in range(len(memory)):
        axes = tuple(memory.axes[row]) if memory.axes else ()
        yield Positions(axes, memory.values.shape[1], None if masks is None else masks[row])


def make_generation(
    hypothesis: Hypothesis, output: str, vocabulary: Vocabulary, positions: Positions, condition: Any
) -> Generation:
    """The generation of a hypothesis.

    Args:
        output: its text.
        vocabulary: of its tokens.
        positions: that its attention weights lie on.
        condition: what attention is drawn on.
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
