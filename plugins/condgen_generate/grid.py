"""3-D grid LSTM over pictures (Kalchbrenner et al. 2015), and a pass from the right as PixelRNN (van den Oord et al. 2016)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condgen_generate.wavefront import DIRECTIONS, wavefront

__all__ = ["GridLayer", "GridLstm", "GridState", "neighbourhood"]


def neighbourhood(height: int, width: int, radius: int, whole_row: bool) -> Tensor:
    """Places of the pixels that each cell reads directly.

    These are at most ``radius`` rows or columns away and before the cell's pixel in raster order; with ``whole_row`` also those
    after it in its row.

    Returns:
        (height · width, offsets) raster places; ``height · width`` for places outside the picture.
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
    """A layer of cells with three LSTMs each, along row, column and layers, whose gates read the hidden vectors of all three.

    Args:
        input_size: size of the input from below.
        size: size of each direction's hidden vector and memory.
        places: height and width if gates have biases by row and column; else None.
    """

    def __init__(self, input_size: int, size: int, places: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.size = size
        self.input = nn.Linear(input_size, 4 * DIRECTIONS * size)
        self.weight = nn.Parameter(torch.empty(2 * size, 4 * DIRECTIONS * size))
        nn.init.xavier_uniform_(self.weight.view(2 * size, 4, -1).transpose(0, 1))
        nn.init.zeros_(self.input.bias)
        with torch.no_grad():
            self.input.bias[DIRECTIONS * size : 2 * DIRECTIONS * size] = 1.0  # forget gates are open at first
        if places is not None:
            self.rows = nn.Parameter(torch.zeros(places[0], 4 * DIRECTIONS * size))
            self.columns = nn.Parameter(torch.zeros(places[1], 4 * DIRECTIONS * size))
        self.places = places

    def forward(
        self, inputs: Sequence[Tensor], memory: Tensor, height: int, width: int, inside: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run over pictures.

        Args:
            inputs: (height · width, batch, features) each, inputs from below.
            memory: (height · width, batch, size) memory from below.
            height, width: size of the pictures.
            inside: (height · width, offsets), 1 where a cell's neighbourhood is inside the picture. With it, the first input
                lacks the channel of the first colour, which follows from the others; with two colours this halves the work.
        Returns:
            Hidden vectors and memories for the layer above, (height · width, batch, size) each.
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
            below: (batch, input_size) input from below.
            memory: (batch, size) memory from below.
            left, above: (batch, 2 · size) hidden vector and memory of the neighbours.
            row, column: place of the cell.
        Returns:
            Hidden vector and memory for the layer above, and both concatenated for the neighbours to the right and below.
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
    """State between two pixels: hidden vectors and memories of the neighbouring cells. S is the size of a cell.

    Args:
        left: (batch, layers, 2 · S) of the cell to the left.
        above: (batch, layers, width, 2 · S) of the row above; in finished columns, of the current row.
        back_above: (batch, back_layers, width, 2 · S) of the row above in the pass from the right.
        behind: (batch, width, S) output of the pass from the right in the row above.
    """

    left: Tensor
    above: Tensor
    back_above: Tensor
    behind: Tensor


class GridLstm(nn.Module):
    """A grid LSTM that predicts each pixel from those before it in raster order.

    Its layers run from the top left and read the pixels above and to the left. Further layers run from the top right; their
    output, shifted down by one row, is an input of the lowest layer, so that pixels above to the right are read as well.

    Args:
        height, width: size of the pictures.
        colors: number of colours.
        size: size of each direction's hidden vector and memory in a cell.
        layers: number of layers from the left.
        back_layers: number of layers from the right, which may be 0.
        radius: distance up to which cells of the lowest layer read pixels directly.
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
        """Features (height · width, batch, layers · size) of one-hot pixels (batch, height · width, colors); those of a place
        depend only on pixels before it."""
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
        """The features (batch, layers · size) of one pixel, and the next state.

        Args:
            place: raster place of the pixel.
            pixels: (batch, height · width) colours, final before ``place``.
            state: state before the pixel.
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
        """Run the pass from the right over a complete row."""
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
        """Output of the pass from the right in the cell above each cell, (height · width, batch, size)."""
        mirrored = colors.view(-1, self.height, self.width, self.colors).flip(2).flatten(1, 2)
        *_, top = self._climb(self.back_layers, [self._read(mirrored, self.row)], self.row)
        grid = top.view(self.height, self.width, -1, self.size).flip(1)
        return F.pad(grid[:-1], (0, 0, 0, 0, 0, 0, 1, 0)).flatten(0, 1)

    def _climb(self, layers: Iterable[GridLayer], inputs: Sequence[Tensor], places: Tensor) -> Iterable[Tensor]:
        """The hidden vectors of each layer, (height · width, batch, size)."""
        memory = inputs[0].new_zeros(*inputs[0].shape[:2], self.size)
        inside: Tensor | None = (places < self.height * self.width).to(memory.dtype)
        for layer in layers:
            hidden, memory = layer(inputs, memory, self.height, self.width, inside)
            inputs, inside = [hidden], None
            yield hidden

    def _read(self, colors: Tensor, places: Tensor) -> Tensor:
        """Pixels read directly by each cell, (height · width, batch, offsets · (colors - 1)), one-hot without the first colour;
        0 outside the picture."""
        cells, offsets = places.shape
        padded = F.pad(colors[..., 1:].transpose(0, 1), (0, 0, 0, 0, 0, 1))
        found = padded.index_select(0, places.flatten()).view(cells, offsets, -1, self.colors - 1)
        return found.transpose(1, 2).flatten(2)

    def _read_one(self, pixels: Tensor, places: Tensor) -> Tensor:
        """Pixels read directly by one cell, (batch, offsets · colors), one-hot."""
        inside = places < self.height * self.width
        found = F.one_hot(pixels[:, places.clamp(max=self.height * self.width - 1)], self.colors)
        return (found * inside.unsqueeze(1)).flatten(1).to(self.layers[0].weight.dtype)
