"""One layer of grid LSTM over a whole picture, a diagonal at a time.

The cells of a diagonal don't need one another, so that a diagonal of all pictures is one matrix product. Cells lie in the order
of their diagonals, and what a cell emits is written at once where its two neighbours on the next diagonal read it: nothing is
padded or gathered. The gradient is written by hand, from what the forward pass leaves; that of the weights is one product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
        wide = DIRECTIONS * size
        bias = bias.index_select(0, places).unsqueeze(1)
        gates = memory.new_empty(cells, batch, weight.shape[1])
        hidden = memory.new_zeros(cells, batch, len(weight))
        hidden[:, :, 2 * size :] = below.index_select(0, places)
        memories = memory.new_zeros(cells, batch, wide)
        memories[:, :, 2 * size :] = memory.index_select(0, places)
        squashed, emitted, new = torch.empty_like(memories), torch.empty_like(memories), torch.empty_like(memories)
        # a diagonal's part of each, and of all cells what goes to the right and below, made once: slices cost as much as sums
        parts = _by_diagonal(steps, gates, bias, hidden, memories, squashed, emitted, new)
        to_right = [(hidden[..., :size], emitted[..., :size]), (memories[..., :size], new[..., :size])]
        down = slice(size, 2 * size)
        to_below = [(hidden[..., down], emitted[..., down]), (memories[..., down], new[..., down])]
        for step, (gate, biased, read, known, squash, out, fresh) in zip(steps, parts, strict=True):
            torch.mm(read.flatten(0, 1), weight, out=gate.flatten(0, 1))
            gate += biased
            gate[..., : 3 * wide].sigmoid_()
            gate[..., 3 * wide :].tanh_()
            entered, kept, shown, candidate = torch.split(gate, wide, 2)
            torch.mul(kept, known, out=fresh).addcmul_(entered, candidate)
            torch.tanh(fresh, out=squash)
            torch.mul(shown, squash, out=out)
            for target, source in to_right:
                target[step.right] = source[step.with_right]
            for target, source in to_below:
                target[step.below] = source[step.with_below]
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
        sigmoid_backward, tanh_backward = torch.ops.aten.sigmoid_backward, torch.ops.aten.tanh_backward
        parts = _by_diagonal(steps, gates, slopes, memories, squashed, emitted, new, entering)
        from_right = [(emitted[..., :size], entering[..., :size]), (new[..., :size], new[..., :size])]
        down = slice(size, 2 * size)
        from_below = [(emitted[..., down], entering[..., down]), (new[..., down], new[..., down])]
        for step, (gate, slope, known, tanh, out, d_new, d_read) in zip(reversed(steps), reversed(parts), strict=True):
            for target, source in from_right:
                target[step.with_right] = source[step.right]
            for target, source in from_below:
                target[step.with_below] = source[step.below]
            entered, kept, shown, candidate = torch.split(gate, wide, 2)
            d_entered, d_kept, d_shown, d_candidate = torch.split(slope, wide, 2)
            d_new += tanh_backward(out * shown, tanh)
            torch.mul(out, tanh, out=d_shown)
            torch.mul(d_new, candidate, out=d_entered)
            torch.mul(d_new, known, out=d_kept)
            torch.mul(d_new, entered, out=d_candidate)
            opened = slope[..., : 3 * wide]
            sigmoid_backward(opened, gate[..., : 3 * wide], grad_input=opened)
            tanh_backward(d_candidate, candidate, grad_input=d_candidate)
            d_new *= kept  # from here on the gradient of the memory that came in
            torch.mm(slope.flatten(0, 1), transposed, out=d_read.flatten(0, 1))
        to_weight = hidden.flatten(0, 1).t() @ slopes.flatten(0, 1)
        to_bias = slopes.sum(1).index_select(0, back)
        to_below = (slopes @ weight[2 * size :].t()).index_select(0, back) if ctx.needs_input_grad[0] else None
        return to_below, new[..., 2 * size :].index_select(0, back), to_weight, to_bias, None, None


def _by_diagonal(steps: Sequence[Diagonal], *tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """For each diagonal its part of each tensor (cells in diagonal order, …)."""
    counts = [step.cells.stop - step.cells.start for step in steps]
    return list(zip(*(torch.split(tensor, counts) for tensor in tensors), strict=True))
