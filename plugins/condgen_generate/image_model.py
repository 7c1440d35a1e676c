"""Autoregressive models of pictures: pixels are tokens of a palette, written in raster order by an LSTM or grid LSTM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from condgen_cli.errors import InputError
from condgen_cli.generation import Generation
from condgen_cli.model import Item, Memory, SequenceModel, Step
from condgen_cli.running.decoding import Hypothesis
from condgen_generate.canvas import UNKNOWN, known_pixels
from condgen_generate.grid import GridLstm, GridState

__all__ = ["ImageConfig", "ImageModel", "PixelVocabulary", "build"]


class ImageConfig(BaseModel):
    """``[model]`` of a recipe.

    Args:
        network: ``grid``, a grid LSTM, or ``raster``, an LSTM over the pixels in raster order.
        height, width: size of the pictures.
        palette: colours of a pixel, as ``rrggbb``.
        size: size of a hidden vector: of each direction in a cell, or of the LSTM.
        layers: number of layers.
        back_layers: layers of the grid that run from the right; 0: only pixels above and to the left are read.
        radius: distance up to which a cell of the grid reads pixels directly.
        readout_size: size of the hidden layer before the output.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: Literal["grid", "raster"] = "grid"
    height: int = Field(28, ge=1)
    width: int = Field(28, ge=1)
    palette: tuple[str, ...] = Field(("000000", "ffffff"), min_length=2, strict=False)
    size: int = Field(32, ge=1)
    layers: int = Field(2, ge=1)
    back_layers: int = Field(1, ge=0)
    radius: int = Field(3, ge=1)
    readout_size: int = Field(64, ge=1)


class PixelVocabulary:
    """Colours of a palette by index; a picture is a text of indices separated by spaces, in raster order."""

    pad, bos, eos, unk = range(4)

    def __init__(self, colors: int) -> None:
        self.colors = colors

    def __len__(self) -> int:
        return 4 + self.colors

    def encode(self, text: str) -> list[int]:
        """Token ids of a text of colour indices; unknown tokens for anything else."""
        return [4 + int(word) if word.isdecimal() and int(word) < self.colors else self.unk for word in text.split()]

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(self.token(index) for index in ids if index > 3)

    def token(self, index: int) -> str:
        return str(index - 4) if index > 3 else ("<pad>", "<bos>", "<eos>", "<unk>")[index]


class RasterState(NamedTuple):
    """(rows, layers, size) each."""

    hidden: Tensor
    cell: Tensor


class RasterLstm(nn.Module):
    """An LSTM over the pixels in raster order (Graves 2013), to which the pixel above is a whole row away."""

    def __init__(self, colors: int, size: int, layers: int) -> None:
        super().__init__()
        self.colors = colors
        self.lstm = nn.LSTM(colors, size, layers, batch_first=True)

    def forward(self, colors: Tensor) -> Tensor:
        """Features (places, batch, size) of one-hot pixels (batch, places, colors), each of the pixels before its own."""
        read = F.pad(colors[:, :-1], (0, 0, 1, 0))
        features: Tensor = self.lstm(read)[0]
        return features.transpose(0, 1)

    def start(self, batch: int) -> RasterState:
        zeros = next(self.parameters()).new_zeros(batch, self.lstm.num_layers, self.lstm.hidden_size)
        return RasterState(zeros, zeros)

    def step(self, place: int, pixels: Tensor, state: RasterState) -> tuple[Tensor, RasterState]:
        """The features (batch, size) of one pixel, and the next state."""
        read = state.hidden.new_zeros(len(pixels), 1, self.colors)
        if place:
            read = F.one_hot(pixels[:, place - 1 : place], self.colors).to(read.dtype)
        outputs, final = self.lstm(read, tuple(part.transpose(0, 1).contiguous() for part in state))
        return outputs.squeeze(1), RasterState(*(part.transpose(0, 1) for part in final))


class ImageState(NamedTuple):
    """State between two pixels.

    Args:
        place: (rows,) number of pixels read, equal in all rows.
        pixels: (rows, places) colours, 0 where not written yet.
        network: state of the network.
    """

    place: Tensor
    pixels: Tensor
    network: GridState | RasterState


class ImageModel(SequenceModel):
    """Writes a picture pixel by pixel, with exact likelihoods: the end token has probability 1 after the last pixel, else 0.

    The condition may be a picture with some given pixels, which are forced when their turn comes. If they are the first ones,
    samples follow the conditional distribution exactly; otherwise pixels before a given one don't depend on it.
    """

    vocabulary: PixelVocabulary
    repeats = True

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = PixelVocabulary(len(config.palette))
        self.places = config.height * config.width
        self.network: GridLstm | RasterLstm
        if config.network == "grid":
            self.network = GridLstm(
                config.height,
                config.width,
                len(config.palette),
                config.size,
                config.layers,
                config.back_layers,
                config.radius,
            )
            width = config.layers * config.size
        else:
            self.network = RasterLstm(len(config.palette), config.size, config.layers)
            width = config.size
        self.readout = nn.Sequential(
            nn.Linear(width, config.readout_size), nn.ReLU(), nn.Linear(config.readout_size, len(config.palette))
        )

    @property
    def _like(self) -> Tensor:
        """A tensor with the model's dtype and device."""
        return next(self.parameters())

    def example(self) -> Item:
        """An example item, for inspecting the architecture."""
        return Item("example", None)

    def collate(self, items: Sequence[Item]) -> Tensor:
        """The given pixels (batch, places), -1 elsewhere.

        Raises:
            InputError: if a condition isn't a picture of the right size.
        """
        return torch.from_numpy(np.stack([self._given_pixels(item) for item in items])).flatten(1)

    def finish(self, generation: Generation, hypothesis: Hypothesis, item: Item) -> Generation:
        """The generation with its picture in ``details``, for ``condgen_generate.pictures``."""
        shape = self.config.height, self.config.width
        pixels = np.array(hypothesis.ids[: self.places]) - 4
        known = self._given_pixels(item)
        given = known.tolist() if (known != UNKNOWN).any() else []
        details = {"rows": pixels.reshape(shape).tolist(), "palette": list(self.config.palette), "given": given}
        return replace(generation, details=details)

    def encode(self, batch: Tensor) -> Memory:
        return Memory(self._like.new_zeros(len(batch), 0, 1), auxiliary={"known": batch})

    def start(self, memory: Memory, rows_per_item: int = 1) -> ImageState:
        rows = len(memory) * rows_per_item
        known = memory.auxiliary["known"]
        return ImageState(known.new_zeros(rows), known.new_zeros(rows, self.places), self.network.start(rows))

    def step(self, token: Tensor, state: ImageState, memory: Memory) -> Step:
        """Read a pixel and predict the next one."""
        place, pixels = int(state.place[0]), state.pixels
        if 0 < place <= self.places:
            pixels = pixels.clone()
            pixels[:, place - 1] = (token - 4).clamp(min=0)
        elif place > self.places:
            raise InputError("the picture is complete")
        following = state.place + 1
        if place == self.places:
            end = pixels.new_zeros(len(pixels), 0, dtype=self._like.dtype)
            return Step(self._logits(end, ended=True), ImageState(following, pixels, state.network))
        features, network = self.network.step(place, pixels, state.network)  # type: ignore[arg-type]
        logits = self.readout(features)
        known = memory.auxiliary["known"][:, place].repeat_interleave(len(pixels) // len(memory))
        return Step(self._logits(_fix_known(logits, known)), ImageState(following, pixels, network))

    def forward(self, memory: Memory, targets: Tensor) -> Tensor:
        rows, steps = targets.shape
        read = (targets[:, 1:] - 4).clamp(min=0)[:, : self.places]
        pixels = F.pad(read, (0, self.places - read.shape[1]))
        logits = self.pixel_logits(pixels)
        known = memory.auxiliary["known"].repeat_interleave(rows // len(memory), 0)
        logits = self._logits(_fix_known(logits, known))
        if steps > self.places:
            end = self._logits(logits.new_zeros(rows, 0), ended=True)
            logits = torch.cat([logits, end.unsqueeze(1).expand(-1, steps - self.places, -1)], 1)
        return logits[:, :steps]

    def pixel_logits(self, pixels: Tensor) -> Tensor:
        """Logits (batch, places, colors) of pixels (batch, places); those of a place depend on pixels before it."""
        return self.color_logits(F.one_hot(pixels, self.vocabulary.colors).to(self._like.dtype))

    def color_logits(self, colors: Tensor) -> Tensor:
        """The same for one-hot pixels (batch, places, colors), which can have a gradient."""
        logits: Tensor = self.readout(self.network(colors))
        return logits.transpose(0, 1)

    def _given_pixels(self, item: Item) -> NDArray[np.int64]:
        """The given pixels of an item, (height, width)."""
        return known_pixels(item, (self.config.height, self.config.width), self.config.palette)

    def _logits(self, logits: Tensor, ended: bool = False) -> Tensor:
        """Logits over the vocabulary from logits of colours; with ``ended``, the end token alone is possible."""
        shape = (*logits.shape[:-1], len(self.vocabulary))
        whole = logits.new_full(shape, -torch.inf)
        if ended:
            whole[..., self.vocabulary.eos] = 0.0
        else:
            whole[..., 4:] = logits
        return whole


def _fix_known(logits: Tensor, known: Tensor) -> Tensor:
    """Logits (…, colors) under which a given colour (…) is certain; -1: none is given."""
    fixed = torch.full_like(logits, -torch.inf).scatter_(-1, known.clamp(min=0).unsqueeze(-1), 0.0)
    return torch.where((known >= 0).unsqueeze(-1), fixed, logits)


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> ImageModel:
    """The model of a manifest entry or a run, without its weights."""
    return ImageModel(ImageConfig.model_validate(config))
