"""3-D grid LSTM over pictures (Kalchbrenner et al. 2015), with PixelRNN's pass from the right (van den Oord et al. 2016)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condgen_generate.wavefront import DIRECTIONS, wavefront

__all__ = ["GridLayer", "GridLstm", "GridState", "neighbourhood"]


def neighbourhood(height: int, width: int, radius: int, whole_row: bool) -> Tensor:
    """The places that each cell reads directly: those at most ``radius`` away that were written before the cell's pixel, and
    with ``whole_row`` those of its own row too.

    Returns:
        (height · width, offsets) raster places; ``height · width`` stands for what lies outside.
    """
    reach = range(-radius, radius + 1)
    offsets = [(dy, dx) for dy in range(-radius, 0) for dx in reach]
    offsets += [(0, dx) for dx in (reach if whole_row else range(-radius, 0))]
    outside = height * width

    def place(row: int, column: int) -> int:
        return row * width + column if 0 <= row < height and 0 <= column < width else outside

    return torch.tensor(
        [[place(row + dy, column + dx) for dy, dx in offsets] for row in range(height) for column in range(width)]
    )


class GridLayer(nn.Module):
    """A layer of cells: three LSTMs a cell, along the row, down the column and upwards, whose gates see all hidden vectors.

    Args:
        input_size: of what comes from below.
        size: of each direction's hidden vector and memory.
        places: height and width, if the gates are biased by row and column.
    """

    def __init__(self, input_size: int, size: int, places: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.size = size
        self.input = nn.Linear(input_size, 4 * DIRECTIONS * size)
        self.weight = nn.Parameter(torch.empty(2 * size, 4 * DIRECTIONS * size))
        nn.init.xavier_uniform_(self.weight.view(2 * size, 4, -1).transpose(0, 1))
        nn.init.zeros_(self.input.bias)
        with torch.no_grad():
            self.input.bias[DIRECTIONS * size : 2 * DIRECTIONS * size] = 1.0  # it remembers until it learns to forget
        if places is not None:
            self.rows = nn.Parameter(torch.zeros(places[0], 4 * DIRECTIONS * size))
            self.columns = nn.Parameter(torch.zeros(places[1], 4 * DIRECTIONS * size))
        self.places = places

    def forward(
        self, inputs: Sequence[Tensor], memory: Tensor, height: int, width: int, inside: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run over pictures.

        Args:
            inputs: (height · width, batch, features) each, what comes from below.
            memory: (height · width, batch, size), that comes from below.
            inside: (height · width, offsets), 1 where a cell's neighbourhood lies in the picture. With it the first input is
                without the first colour, which a pixel has unless it has another: half of the products with two colours.
        Returns:
            what goes up, hidden vectors and memories (height · width, batch, size).
        """
        weight, bias = self.input.weight, self.input.bias.expand(height * width, -1)
        if self.places is not None:
            bias = bias + (self.rows.unsqueeze(1) + self.columns).flatten(0, 1)
        if inside is not None:
            offsets = inside.shape[1]
            pixels = inputs[0].shape[2] + offsets
            of_pixels = weight[:, :pixels].view(len(weight), offsets, -1)
            weight = torch.cat([(of_pixels[..., 1:] - of_pixels[..., :1]).flatten(1), weight[:, pixels:]], 1)
            bias = bias + inside @ of_pixels[..., 0].t()
        return wavefront(inputs, memory, torch.cat([self.weight, weight.t()]), bias, height, width)

    def cell(
        self, below: Tensor, memory: Tensor, left: Tensor, above: Tensor, row: int, column: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One cell.

        Args:
            below: (batch, input_size); memory: (batch, size).
            left, above: (batch, 2 · size), the neighbour's hidden vector and memory.
        Returns:
            hidden vector and memory that go up, and what the neighbours to the right and below get.
        """
        size = self.size
        gates = self.input(below) + torch.cat([left[:, :size], above[:, :size]], 1) @ self.weight
        if self.places is not None:
            gates = gates + self.rows[row] + self.columns[column]
        entered, kept, shown, candidate = torch.split(gates, DIRECTIONS * size, 1)
        memories = torch.cat([left[:, size:], above[:, size:], memory], 1)
        memories = kept.sigmoid() * memories + entered.sigmoid() * candidate.tanh()
        hidden = shown.sigmoid() * memories.tanh()
        (right_h, down_h, up_h), (right_m, down_m, up_m) = torch.split(hidden, size, 1), torch.split(memories, size, 1)
        return up_h, up_m, torch.cat([right_h, right_m], 1), torch.cat([down_h, down_m], 1)


class GridState(NamedTuple):
    """What the cells of the row above, and the cell to the left, sent. S is the size of a cell.

    Args:
        left: (batch, layers, 2 · S).
        above: (batch, layers, width, 2 · S); at columns that are done, what goes to the row below.
        back_above: (batch, back_layers, width, 2 · S): the same of the pass from the right.
        behind: (batch, width, S): what the pass from the right found in the row above.
    """

    left: Tensor
    above: Tensor
    back_above: Tensor
    behind: Tensor


class GridLstm(nn.Module):
    """Layers of grid LSTM from the top left, which see all pixels to the left and above; and layers from the top right, whose
    output reaches the first of these one row below, so that they see what lies above to the right as well. Nothing sees its
    future: pixel ``i`` in raster order is predicted from pixels before ``i``.

    Args:
        height, width: of the pictures.
        colors: of a pixel.
        size: of a direction's hidden vector and memory in each cell.
        layers: their number; ``back_layers``: those from the right, which may be 0.
        radius: how far away a cell of the lowest layer reads pixels directly.
    """

    def __init__(
        self, height: int, width: int, colors: int, size: int, layers: int = 2, back_layers: int = 1, radius: int = 3
    ) -> None:
        super().__init__()
        self.height, self.width, self.colors, self.size = height, width, colors, size
        places = height, width
        before, row = (neighbourhood(height, width, radius, whole_row) for whole_row in (False, True))
        self.register_buffer("before", before, persistent=False)
        self.register_buffer("row", row, persistent=False)
        lowest, back_lowest = colors * before.shape[1] + (size if back_layers else 0), colors * row.shape[1]
        self.layers: Sequence[GridLayer] = nn.ModuleList(  # type: ignore[assignment]
            GridLayer(size if layer else lowest, size, None if layer else places) for layer in range(layers)
        )
        self.back_layers: Sequence[GridLayer] = nn.ModuleList(  # type: ignore[assignment]
            GridLayer(size if layer else back_lowest, size, None if layer else places) for layer in range(back_layers)
        )

    before: Tensor
    row: Tensor

    def forward(self, colors: Tensor) -> Tensor:
        """Pixels (batch, height · width, colors), one-hot, to features (height · width, batch, layers · size), each of pixels
        before its own."""
        inputs = [self._read(colors, self.before)]
        if len(self.back_layers):
            inputs.append(self._behind(colors))
        return torch.cat(list(self._climb(self.layers, inputs, self.before)), 2)

    def start(self, batch: int) -> GridState:
        """The state before the first pixel."""
        like = self.layers[0].weight
        layers, back = len(self.layers), len(self.back_layers)
        return GridState(
            like.new_zeros(batch, layers, 2 * self.size),
            like.new_zeros(batch, layers, self.width, 2 * self.size),
            like.new_zeros(batch, back, self.width, 2 * self.size),
            like.new_zeros(batch, self.width, self.size),
        )

    def step(self, place: int, pixels: Tensor, state: GridState) -> tuple[Tensor, GridState]:
        """The features (batch, layers · size) of one pixel, and the next state; nothing earlier is computed again.

        Args:
            place: of the pixel, in raster order.
            pixels: (batch, height · width), known before ``place``.
        """
        row, column = divmod(place, self.width)
        if column == 0:
            state = state._replace(left=torch.zeros_like(state.left))
            if row and len(self.back_layers):
                state = self._row_from_right(row - 1, pixels, state)
        below = self._read_one(pixels, self.before[place])
        if len(self.back_layers):
            below = torch.cat([below, state.behind[:, column]], 1)
        memory = below.new_zeros(len(below), self.size)
        above, left, found = state.above.clone(), [], []
        for number, layer in enumerate(self.layers):
            below, memory, right, down = layer.cell(below, memory, state.left[:, number], above[:, number, column], row, column)
            above[:, number, column] = down
            left.append(right)
            found.append(below)
        return torch.cat(found, 1), state._replace(left=torch.stack(left, 1), above=above)

    def _row_from_right(self, row: int, pixels: Tensor, state: GridState) -> GridState:
        """The pass from the right over a row that is complete."""
        above, behind = state.back_above.clone(), torch.empty_like(state.behind)
        left = [above.new_zeros(len(above), 2 * self.size) for _ in self.back_layers]
        mirrored = pixels.view(-1, self.height, self.width).flip(2).flatten(1)
        for column in range(self.width):
            below = self._read_one(mirrored, self.row[row * self.width + column])
            memory = below.new_zeros(len(below), self.size)
            for number, layer in enumerate(self.back_layers):
                below, memory, left[number], above[:, number, column] = layer.cell(
                    below, memory, left[number], above[:, number, column], row, column
                )
            behind[:, self.width - 1 - column] = below
        return state._replace(back_above=above, behind=behind)

    def _behind(self, colors: Tensor) -> Tensor:
        """For each cell what the pass from the right found in the cell above it: (height · width, batch, size)."""
        mirrored = colors.view(-1, self.height, self.width, self.colors).flip(2).flatten(1, 2)
        *_, top = self._climb(self.back_layers, [self._read(mirrored, self.row)], self.row)
        grid = top.view(self.height, self.width, -1, self.size).flip(1)
        return F.pad(grid[:-1], (0, 0, 0, 0, 0, 0, 1, 0)).flatten(0, 1)

    def _climb(self, layers: Iterable[GridLayer], inputs: Sequence[Tensor], places: Tensor) -> Iterable[Tensor]:
        """The hidden vectors that each layer sends up, (height · width, batch, size)."""
        memory = inputs[0].new_zeros(*inputs[0].shape[:2], self.size)
        inside: Tensor | None = (places < self.height * self.width).to(memory.dtype)
        for layer in layers:
            hidden, memory = layer(inputs, memory, self.height, self.width, inside)
            inputs, inside = [hidden], None
            yield hidden

    def _read(self, colors: Tensor, places: Tensor) -> Tensor:
        """What each cell reads directly, (height · width, batch, offsets · (colors - 1)), without the first colour; outside the
        picture nothing is set."""
        cells, offsets = places.shape
        padded = F.pad(colors[..., 1:].transpose(0, 1), (0, 0, 0, 0, 0, 1))
        found = padded.index_select(0, places.flatten()).view(cells, offsets, -1, self.colors - 1)
        return found.transpose(1, 2).flatten(2)

    def _read_one(self, pixels: Tensor, places: Tensor) -> Tensor:
        """(batch, offsets · colors) of one cell."""
        inside = places < self.height * self.width
        found = F.one_hot(pixels[:, places.clamp(max=self.height * self.width - 1)], self.colors)
        return (found * inside.unsqueeze(1)).flatten(1).to(self.layers[0].weight.dtype)
