"""What experiments with sequences share: teacher forcing's inputs and targets, batches of like length, the exported model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from condgen_cli.training.recipe import Recipe

__all__ = ["batches_of_like_length", "teacher_forcing", "write_description"]


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
    still random.
    """
    shuffled = np.array_split(rng.permutation(len(sizes)), parts)
    ordered = np.concatenate([part[np.argsort(sizes[part], kind="stable")] for part in shuffled])
    count = len(ordered) // batch_size
    return ordered[: count * batch_size].reshape(count, batch_size)[rng.permutation(count)]


def write_description(directory: Path, recipe: Recipe, config: Mapping[str, Any], files: Sequence[str]) -> None:
    """``model.json`` of an exported model, as ``condgen_cli.runner.load`` reads it."""
    document = {
        "task": recipe.task,
        "architecture": {"name": recipe.model.architecture, "config": config},
        "decoding": recipe.decoding,
        "files": list(files),
    }
    (directory / "model.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
