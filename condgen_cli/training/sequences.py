"""What experiments with sequences share: teacher forcing's inputs and targets, batches of like length, scores on the dev split,
the model that training starts from and the one that it gives."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor, nn

from condgen_cli import console
from condgen_cli.decoding import Decoding, decode
from condgen_cli.generation import Generation
from condgen_cli.item import Item
from condgen_cli.metrics.suite import Suite
from condgen_cli.pipeline import batched
from condgen_cli.training.initial import load_initial
from condgen_cli.training.recipe import Recipe
from condgen_cli.weights import save_weights

__all__ = [
    "batches_of_like_length",
    "dev_scores",
    "export",
    "free_running",
    "full_batches",
    "load_initial",
    "teacher_forcing",
    "write_description",
]

WEIGHTS_FILE = "model.safetensors"


class SavedVocabulary(Protocol):
    def save(self, path: Path) -> None: ...


def teacher_forcing(sequences: Sequence[Sequence[int]], bos: int, eos: int, pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """What a decoder reads and what it should write.

    Returns:
        inputs (rows, longest + 1) that start with ``bos``, targets (rows, longest + 1) that end with ``eos``, lengths (rows,).
    """
    lengths = torch.tensor([len(sequence) + 1 for sequence in sequences])
    inputs = torch.full((len(sequences), int(lengths.max())), pad)
    targets = torch.full_like(inputs, pad)
    for row, sequence in enumerate(sequences):
        inputs[row, : len(sequence) + 1] = torch.tensor([bos, *sequence])
        targets[row, : len(sequence) + 1] = torch.tensor([*sequence, eos])
    return inputs, targets, lengths


def batches_of_like_length(
    sizes: NDArray[np.int64], batch_size: int, rng: np.random.Generator, parts: int = 10
) -> NDArray[np.int64]:
    """An epoch's order: (batches, batch_size) indices of items. A last batch that isn't full is left out.

    The shuffled items are sorted by size within so many parts, then cut into batches, whose order is shuffled: little padding,
    still random. Items that are fewer than a batch are one smaller batch.
    """
    shuffled = np.array_split(rng.permutation(len(sizes)), parts)
    return full_batches(np.concatenate([part[np.argsort(sizes[part], kind="stable")] for part in shuffled]), batch_size, rng)


def full_batches(order: NDArray[np.int64], batch_size: int, rng: np.random.Generator | None = None) -> NDArray[np.int64]:
    """Indices of items cut into batches of one size, (batches, batch_size); the batches are shuffled if there is an ``rng``.

    A last batch that isn't full is left out, unless it is the only one.
    """
    size = min(batch_size, len(order)) or 1
    count = len(order) // size
    batches = order[: count * size].reshape(count, size)
    return batches if rng is None else batches[rng.permutation(count)]


def free_running(model: Any, items: Sequence[Item], decoding: Decoding, batch_size: int = 100) -> list[Generation]:
    """What a model writes for items, in their order, batched by ``model.length``."""
    outputs: dict[int, str] = {}
    order = sorted(range(len(items)), key=lambda index: int(model.length(items[index])))
    for indices in batched(order, batch_size):
        batch = [items[index] for index in indices]
        for index, item, (best, *_) in zip(
            indices, batch, decode(model, model.encode(model.collate(batch)), decoding), strict=True
        ):
            outputs[index] = model.write(best, item) if hasattr(model, "write") else model.vocabulary.decode(best.ids)
    return [Generation(outputs[index]) for index in range(len(items))]


def dev_scores(metrics: Suite, items: Sequence[Item], generations: Sequence[Generation]) -> dict[str, float]:
    """The metrics of generations for items, as a training run logs them; what makes them say little is told once."""
    statistics = metrics.statistics(items, generations)
    for warning in metrics.new_warnings(items, generations, statistics):
        console.warn(f"dev split: {warning}")
    return {key: float(value) for key, value in metrics.score(statistics.sum(0), len(statistics)).items()}


def export(
    directory: Path,
    recipe: Recipe,
    model: nn.Module,
    config: BaseModel,
    vocabularies: Mapping[str, SavedVocabulary],
    parts: Mapping[str, str] | None = None,
) -> None:
    """Write a model and its description, as ``condgen_cli.runner.load`` reads them.

    Args:
        config: the architecture's.
        vocabularies: by their file names.
        parts: names of further files of weights, each with the prefix of the weights that go there instead of into the model's.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    files = {}
    for file, prefix in (parts or {}).items():
        files[file] = {name: state.pop(name) for name in list(state) if name.startswith(prefix)}
    for file, weights in {WEIGHTS_FILE: state, **files}.items():
        save_weights(weights, directory / file)
    for name, vocabulary in vocabularies.items():
        vocabulary.save(directory / name)
    write_description(directory, recipe, config.model_dump(), [WEIGHTS_FILE, *files, *vocabularies])


def write_description(directory: Path, recipe: Recipe, config: Mapping[str, Any], files: Sequence[str]) -> None:
    """``model.json`` of an exported model, as ``condgen_cli.runner.load`` reads it."""
    document = {
        "task": recipe.task,
        "architecture": {"name": recipe.model.architecture, "config": config},
        "decoding": recipe.decoding,
        "files": list(files),
    }
    (directory / "model.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
