"""One layer of grid LSTM over a whole picture, one diagonal at a time.

The cells of a diagonal are independent, so a diagonal of all pictures is one matrix product. Cells are stored in diagonal
order, and a cell's outputs are written where its two neighbours on the next diagonal read them, without padding or gathering.
The gradient is hand-written; that of the weights is one product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["DIRECTIONS", "diagonals", "wavefront"]

DIRECTIONS = 3
"""Directions of a cell: along the row, down the column, up to the layer above."""


class Diagonal(NamedTuple):
    """A diagonal's cells in diagonal order, those with a neighbour to the right or below, and these neighbours."""

    cells: slice
    with_right: slice
    right: slice
    with_below: slice
    below: slice


@cache
def diagonals(height: int, width: int) -> tuple[tuple[Diagonal, ...], Tensor, Tensor]:
    """The diagonals of a picture, the raster places of cells in diagonal order, and the inverse permutation."""
    tops = [max(0, number - width + 1) for number in range(height + width)]
    ends = [min(height, number + 1) for number in range(height + width)]  # rows of a diagonal: top to end
    offsets = [0]
    for top, end in zip(tops, ends, strict=True):
        offsets.append(offsets[-1] + max(0, end - top))

    def cells(number: int, first: int, last: int) -> slice:
        """The cells of a diagonal in rows ``first`` to ``last``."""
        start = offsets[number] - tops[number]
        return slice(start + first, start + max(first, last))

    def list_diagonals() -> Iterator[Diagonal]:
        for number in range(height + width - 1):
            top, end = tops[number], ends[number]
            first = max(top, tops[number + 1])  # the row above has no further column
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
    return tuple(list_diagonals()), places, places.argsort()


def wavefront(
    inputs: Sequence[Tensor], memory: Tensor, weight: Tensor, bias: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Run a layer of grid LSTM (Kalchbrenner et al. 2015, equations 2 to 4) from the top left to the bottom right.

    Each direction is an LSTM of its own whose gates see the hidden vectors of all: with ``H`` the hidden vectors that come from
    the left, from above and from below, and ``m`` a direction's memory, ``m' = σ(W_f H) ⊙ m + σ(W_i H) ⊙ tanh(W_g H)`` and
    ``h' = σ(W_o H) ⊙ tanh(m')``.

    Args:
        inputs: (height · width, batch, features) each, inputs from below.
        memory: (height · width, batch, size) memory from below.
        weight: (2 · size + all features, 12 · size) weights of the hidden vectors from the left and from above and of the
            inputs, for input, forget and output gates and candidates, each for the three directions.
        bias: (height · width, 12 · size) bias of each cell.
        height, width: size of the pictures.
    Returns:
        Hidden vectors and memories for the layer above, (height · width, batch, size) each.
    """
    found: tuple[Tensor, Tensor] = _Wavefront.apply(memory, weight, bias, height, width, *inputs)  # type: ignore[no-untyped-call]
    return found


class _Wavefront(torch.autograd.Function):
    """Received and sent vectors of a cell are one row each: memories of the three directions, then hidden vectors from the left
    and from above; then in received rows the inputs, in sent rows the hidden vector for the layer above."""

    @staticmethod
    def forward(
        ctx: Any, memory: Tensor, weight: Tensor, bias: Tensor, height: int, width: int, *inputs: Tensor
    ) -> tuple[Tensor, Tensor]:
        steps, places, back = diagonals(height, width)
        places, back = places.to(memory.device), back.to(memory.device)
        cells, batch, size = memory.shape
        wide = DIRECTIONS * size
        received = memory.new_zeros(cells, batch, wide + len(weight))
        received[..., 2 * size : wide] = memory.index_select(0, places)
        columns = torch.split(received[..., wide + 2 * size :], [part.shape[2] for part in inputs], 2)
        for column, part in zip(columns, inputs, strict=True):
            column.copy_(part.index_select(0, places))
        sent, squashed = memory.new_empty(cells, batch, 2 * wide), memory.new_empty(cells, batch, wide)
        gates = memory.new_empty(cells, batch, 4 * wide)
        bias = bias.index_select(0, places).unsqueeze(1)
        (memories, hidden), (news, outs) = torch.split(received, [wide, len(weight)], 2), torch.split(sent, wide, 2)
        # views of each diagonal are made once, since making a view costs as much as a sum
        parts = _by_diagonal(steps, gates, bias, hidden, memories, squashed, outs, news)
        to_right, to_below = ((_along(received, size, way), _along(sent, size, way)) for way in range(2))
        for step, (gate, biased, read, known, squash, out, fresh) in zip(steps, parts, strict=True):
            torch.mm(read.flatten(0, 1), weight, out=gate.flatten(0, 1))
            gate += biased
            gate[..., : 3 * wide].sigmoid_()
            entered, kept, shown, candidate = torch.split(gate, wide, 2)
            _tanh(candidate, candidate)
            torch.mul(kept, known, out=fresh).addcmul_(entered, candidate)
            _tanh(fresh, squash)
            torch.mul(shown, squash, out=out)
            _pass_on(to_right, step.right, step.with_right)
            _pass_on(to_below, step.below, step.with_below)
        ctx.shape, ctx.features = (height, width), [part.shape[2] for part in inputs]
        ctx.save_for_backward(gates, received, squashed, weight)
        return sent[..., 2 * wide - size :].index_select(0, back), sent[..., 2 * size : wide].index_select(0, back)

    @staticmethod
    def backward(ctx: Any, to_hidden: Tensor, to_memory: Tensor) -> tuple[Tensor | None, ...]:
        gates, received, squashed, weight = ctx.saved_tensors
        steps, places, back = diagonals(*ctx.shape)
        places, back = places.to(gates.device), back.to(gates.device)
        cells, batch, size = to_hidden.shape
        wide = DIRECTIONS * size
        d_sent, d_received = gates.new_zeros(cells, batch, 2 * wide), gates.new_empty(cells, batch, wide + 2 * size)
        d_sent[..., 2 * size : wide] = to_memory.index_select(0, places)
        d_sent[..., 2 * wide - size :] = to_hidden.index_select(0, places)
        slopes = torch.empty_like(gates)
        transposed = weight[: 2 * size].t().contiguous()
        sigmoid_backward, tanh_backward = torch.ops.aten.sigmoid_backward, torch.ops.aten.tanh_backward
        memories, hidden = torch.split(received, [wide, len(weight)], 2)
        d_news, d_outs = torch.split(d_sent, wide, 2)
        d_memories, d_hidden = torch.split(d_received, [wide, 2 * size], 2)
        parts = _by_diagonal(steps, gates, slopes, memories, squashed, d_outs, d_news, d_hidden, d_memories)
        from_right, from_below = ((_along(d_sent, size, way), _along(d_received, size, way)) for way in range(2))
        for step, (gate, slope, known, tanh, out, d_new, d_read, d_known) in zip(reversed(steps), reversed(parts), strict=True):
            _pass_on(from_right, step.with_right, step.right)
            _pass_on(from_below, step.with_below, step.below)
            entered, kept, shown, candidate = torch.split(gate, wide, 2)
            d_entered, d_kept, d_shown, d_candidate = torch.split(slope, wide, 2)
            d_new += tanh_backward(out * shown, tanh)
            torch.mul(out, tanh, out=d_shown)
            torch.mul(d_new, candidate, out=d_entered)
            torch.mul(d_new, known, out=d_kept)
            torch.mul(d_new, entered, out=d_candidate)
            torch.mul(d_new, kept, out=d_known)
            opened = slope[..., : 3 * wide]
            sigmoid_backward(opened, gate[..., : 3 * wide], grad_input=opened)
            tanh_backward(d_candidate, candidate, grad_input=d_candidate)
            torch.mm(slope.flatten(0, 1), transposed, out=d_read.flatten(0, 1))
        to_weight = hidden.flatten(0, 1).t() @ slopes.flatten(0, 1)
        to_bias = slopes.sum(1).index_select(0, back)
        to_inputs = [
            (slopes @ rows.t()).index_select(0, back) if needed else None
            for rows, needed in zip(torch.split(weight[2 * size :], ctx.features), ctx.needs_input_grad[5:], strict=True)
        ]
        return d_received[..., 2 * size : wide].index_select(0, back), to_weight, to_bias, None, None, *to_inputs


def _along(rows: Tensor, size: int, way: int) -> Tensor:
    """A view (cells, batch, 2, size) of the memory and hidden vector of a direction in received or sent rows."""
    cells, batch, _ = rows.shape
    return rows.as_strided((cells, batch, 2, size), (rows.stride(0), rows.stride(1), DIRECTIONS * size, 1), way * size)


def _pass_on(ends: tuple[Tensor, Tensor], to: slice, of: slice) -> None:
    """Copy vectors of a direction from cells to their neighbours."""
    target, source = ends
    count = to.stop - to.start
    target.narrow(0, to.start, count).copy_(source.narrow(0, of.start, count))


def _tanh(values: Tensor, out: Tensor) -> None:
    """The hyperbolic tangent as 2σ(2x) − 1, since torch's own takes six times as long as its σ on a processor."""
    torch.mul(values, 2, out=out).sigmoid_().mul_(2).sub_(1)


def _by_diagonal(steps: Sequence[Diagonal], *tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """The part of each tensor (cells in diagonal order, …) for each diagonal."""
    counts = [step.cells.stop - step.cells.start for step in steps]
    return list(zip(*(torch.split(tensor, counts) for tensor in tensors), strict=True))
