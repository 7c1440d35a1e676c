"""Pictures per CPU second of the grid LSTM, in training and sampling: ``python benchmarks/grid.py``.

The size is that of the recipe ``grid-lstm``. In training a diagonal of all pictures is one product; beside it runs the same
network a cell at a time, whose loss is checked to be the same. Sampling keeps what earlier cells sent; beside it stands a loop
that runs the network over the whole picture for each pixel.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Callable
from functools import partial
from importlib.resources import files

import torch
import torch.nn.functional as F
from common import cpu_seconds, medians
from torch import Tensor

from condgen_cli.arrays.denormals import flush_denormals
from condgen_cli.running.decoding import Decoding, decode
from condgen_cli.running.randomness import stream_key
from condgen_generate.image_model import ImageConfig, ImageModel

PIXELS = 784
SOME = 8
"""Pixels that are drawn the long way."""


def make(name: str) -> ImageModel:
    """A recipe's model, its weights random."""
    recipe = tomllib.loads((files("condgen_generate.recipes") / f"{name}.toml").read_text())
    torch.manual_seed(0)
    options = {key: value for key, value in recipe["model"].items() if key != "architecture"}
    return ImageModel(ImageConfig.model_validate(options))


def by_diagonals(model: ImageModel, pictures: Tensor) -> Tensor:
    """The loss, a diagonal at a time."""
    return F.cross_entropy(model.pixel_logits(pictures).flatten(0, 1), pictures.flatten())


def by_cells(model: ImageModel, pictures: Tensor) -> Tensor:
    """The loss, a cell at a time."""
    state, features = model.network.start(len(pictures)), []
    for place in range(PIXELS):
        found, state = model.network.step(place, pictures, state)
        features.append(found)
    return F.cross_entropy(model.readout(torch.stack(features, 1)).flatten(0, 1), pictures.flatten())


def sampled(model: ImageModel, batch: int) -> None:
    """A batch of samples, each cell once."""
    memory = model.encode(model.collate([model.example()]))
    decode(model, memory, Decoding("sample", nbest=batch, max_length=PIXELS), [stream_key(0, "grid")])


@torch.inference_mode()
def sampled_anew(model: ImageModel, batch: int, steps: int) -> None:
    """The first pixels of a batch of samples, the network run over the whole picture for each."""
    pictures = torch.zeros(batch, PIXELS, dtype=torch.int64)
    for place in range(steps):
        probabilities = model.pixel_logits(pictures)[:, place].softmax(1)
        pictures[:, place] = torch.multinomial(probabilities, 1).squeeze(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4, 8, 32], help="pictures at once")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, raster = make("grid-lstm"), make("pixel-lstm")
    for batch in options.batch:
        pictures = (torch.rand(batch, PIXELS, generator=torch.Generator().manual_seed(0)) < 0.2).long()
        with torch.no_grad():
            torch.testing.assert_close(by_diagonals(model, pictures[:2]), by_cells(model, pictures[:2]))
        print(f"batches of {batch}: pictures per CPU second")
        report(model, raster, pictures, options.rounds)


def report(model: ImageModel, raster: ImageModel, pictures: Tensor, rounds: int) -> None:
    """Medians for one batch."""
    batch = len(pictures)
    actions = {
        "training, by diagonals": lambda: by_diagonals(model, pictures).backward(),
        "training, cell by cell": lambda: by_cells(model, pictures).backward(),
        "training, raster LSTM of the same size": lambda: by_diagonals(raster, pictures).backward(),
        "sampling": lambda: sampled(model, batch),
        f"sampling, the whole anew for each of {SOME} pixels": lambda: sampled_anew(model, batch, SOME),
    }
    found = medians({name: partial(timed, action) for name, action in actions.items()}, rounds)
    for name, seconds in found.items():
        share = SOME / PIXELS if "anew" in name else 1
        print(f"  {name:<50} {batch * share / seconds:8.2f}")


def timed(action: Callable[[], None]) -> float:
    """CPU seconds of an action."""
    started = cpu_seconds()
    with flush_denormals():  # as training does
        action()
    return cpu_seconds() - started


if __name__ == "__main__":
    main()
