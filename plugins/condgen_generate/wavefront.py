"""One layer of grid LSTM over a whole picture, a diagonal at a time.

The cells of a diagonal don't need one another, so that a diagonal of all pictures is one matrix product. Cells lie in the order
of their diagonals, and what a cell emits is written at once where its two neighbours on the next diagonal read it: nothing is
padded or gathered. The gradient is written by hand, from what the forward pass leaves; that of the weights is one product.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["DIRECTIONS", "diagonals", "wavefront"]

DIRECTIONS = 3
"""Of a cell: along the row, down the column, up to the layer above."""


class Diagonal(NamedTuple):
    """A diagonal's cells in diagonal order, those of them that have a neighbour to the right or below, and these neighbours."""

    cells: slice
    with_right: slice
    right: slice
    with_below: slice
    below: slice


@cache
def diagonals(height: int, width: int) -> tuple[tuple[Diagonal, ...], Tensor, Tensor]:
    """The diagonals of a picture, the raster places of cells in diagonal order, and the inverse of that order."""
    tops = [max(0, number - width + 1) for number in range(height + width)]
    ends = [min(height, number + 1) for number in range(height + width)]  # rows of a diagonal: top to end
    offsets = [0]
    for top, end in zip(tops, ends, strict=True):
        offsets.append(offsets[-1] + max(0, end - top))

    def cells(number: int, first: int, last: int) -> slice:
        """The cells of a diagonal in rows ``first`` to ``last``."""
        start = offsets[number] - tops[number]
        return slice(start + first, start + max(first, last))

    def made() -> Iterator[Diagonal]:
        for number in range(height + width - 1):
            top, end = tops[number], ends[number]
            first = max(top, tops[number + 1])  # above it the row has no further column
            last = min(end, height - 1)
            yield Diagonal(
                cells(number, top, end),
                cells(number, first, end),
                cells(number + 1, first, end),
                cells(number, top, last),
                cells(number + 1, top + 1, last + 1),
            )

    order = [row * width + number - row for number in range(height + width - 1) for row in range(tops[number], ends[number])]
    places = torch.tensor(order)
    return tuple(made()), places, places.argsort()


def wavefront(below: Tensor, memory: Tensor, weight: Tensor, bias: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Run a layer of grid LSTM (Kalchbrenner et al. 2015, equations 2 to 4) from the top left to the bottom right.

    Each direction is an LSTM of its own whose gates see the hidden vectors of all: with ``H`` the hidden vectors that come from
    the left, from above and from below, and ``m`` a direction's memory, ``m' = σ(W_f H) ⊙ m + σ(W_i H) ⊙ tanh(W_g H)`` and
    ``h' = σ(W_o H) ⊙ tanh(m')``.

    Args:
        below: (height · width, batch, input_size): what comes from below.
        memory: (height · width, batch, size): the memory that comes from below.
        weight: (2 · size + input_size, 12 · size): of the hidden vectors from the left and from above, and of what comes from
            below; for input, forget and output gates and candidates, each for the three directions.
        bias: (height · width, 12 · size): each cell's own.
    Returns:
        hidden vectors and memories that go up, (height · width, batch, size) each.
    """
    found: tuple[Tensor, Tensor] = _Wavefront.apply(below, memory, weight, bias, height, width)  # type: ignore[no-untyped-call]
    return found


class _Wavefront(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, below: Tensor, memory: Tensor, weight: Tensor, bias: Tensor, height: int, width: int
    ) -> tuple[Tensor, Tensor]:
        steps, places, back = diagonals(height, width)
        places, back = places.to(memory.device), back.to(memory.device)
        cells, batch, size = memory.shape
        hidden = memory.new_zeros(cells, batch, len(weight))
        hidden[:, :, 2 * size :] = below.index_select(0, places)
        bias = bias.index_select(0, places).unsqueeze(1)
        gates = memory.new_empty(cells, batch, weight.shape[1])
        memories = memory.new_zeros(cells, batch, DIRECTIONS * size)
        memories[:, :, 2 * size :] = memory.index_select(0, places)
        squashed = torch.empty_like(memories)
        wide = DIRECTIONS * size
        emitted, new = torch.empty_like(memories), torch.empty_like(memories)
        for step in steps:
            here = gates[step.cells]
            torch.mm(hidden[step.cells].flatten(0, 1), weight, out=here.flatten(0, 1))
            here += bias[step.cells]
            here[..., : 3 * wide].sigmoid_()
            here[..., 3 * wide :].tanh_()
            entered, kept, shown, candidate = torch.split(here, wide, 2)
            torch.mul(kept, memories[step.cells], out=new[step.cells]).addcmul_(entered, candidate)
            torch.tanh(new[step.cells], out=squashed[step.cells])
            torch.mul(shown, squashed[step.cells], out=emitted[step.cells])
            hidden[step.right, :, :size] = emitted[step.with_right, :, :size]
            hidden[step.below, :, size : 2 * size] = emitted[step.with_below, :, size : 2 * size]
            memories[step.right, :, :size] = new[step.with_right, :, :size]
            memories[step.below, :, size : 2 * size] = new[step.with_below, :, size : 2 * size]
        ctx.shape = height, width
        ctx.save_for_backward(gates, hidden, memories, squashed, weight)
        return emitted[..., 2 * size :].index_select(0, back), new[..., 2 * size :].index_select(0, back)

    @staticmethod
    def backward(ctx: Any, to_hidden: Tensor, to_memory: Tensor) -> tuple[Tensor | None, ...]:
        gates, hidden, memories, squashed, weight = ctx.saved_tensors
        steps, places, back = diagonals(*ctx.shape)
        places, back = places.to(gates.device), back.to(gates.device)
        size = to_hidden.shape[2]
        wide = DIRECTIONS * size
        emitted, new = torch.zeros_like(memories), torch.zeros_like(memories)  # gradients of what cells emit and remember
        emitted[..., 2 * size :] = to_hidden.index_select(0, places)
        new[..., 2 * size :] = to_memory.index_select(0, places)
        slopes, entering = torch.empty_like(gates), torch.empty_like(hidden[..., : 2 * size])
        transposed = weight[: 2 * size].t().contiguous()
        for step in reversed(steps):
            emitted[step.with_right, :, :size] = entering[step.right, :, :size]
            emitted[step.with_below, :, size : 2 * size] = entering[step.below, :, size:]
            new[step.with_right, :, :size] = new[step.right, :, :size]
            new[step.with_below, :, size : 2 * size] = new[step.below, :, size : 2 * size]
            entered, kept, shown, candidate = torch.split(gates[step.cells], wide, 2)
            d_entered, d_kept, d_shown, d_candidate = torch.split(slopes[step.cells], wide, 2)
            tanh, out = squashed[step.cells], emitted[step.cells]
            d_new = new[step.cells].addcmul_(out * shown, 1 - tanh * tanh)
            torch.mul(out, tanh, out=d_shown)
            torch.mul(d_new, candidate, out=d_entered)
            torch.mul(d_new, memories[step.cells], out=d_kept)
            torch.mul(d_new, entered, out=d_candidate)
            opened = gates[step.cells][..., : 3 * wide]
            slopes[step.cells][..., : 3 * wide].mul_(opened - opened * opened)
            d_candidate.mul_(1 - candidate * candidate)
            d_new.mul_(kept)  # from here on the gradient of the memory that came in
            torch.mm(slopes[step.cells].flatten(0, 1), transposed, out=entering[step.cells].flatten(0, 1))
        to_weight = hidden.flatten(0, 1).t() @ slopes.flatten(0, 1)
        to_bias = slopes.sum(1).index_select(0, back)
        to_below = (slopes @ weight[2 * size :].t()).index_select(0, back) if ctx.needs_input_grad[0] else None
        return to_below, new[..., 2 * size :].index_select(0, back), to_weight, to_bias, None, None
