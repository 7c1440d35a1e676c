"""Writing the files of a trained model, which ``condgen_cli.running.runner.load`` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from condgen_cli.files.weights import save_weights
from condgen_cli.training.recipe import Recipe

__all__ = ["SavedVocabulary", "write_model"]

WEIGHTS_FILE = "model.safetensors"


class SavedVocabulary(Protocol):
    """A vocabulary that can be saved to a file."""

    def save(self, path: Path) -> None: ...


def write_model(
    directory: Path,
    recipe: Recipe,
    weights: Mapping[str, Tensor],
    config: Mapping[str, Any],
    vocabularies: Mapping[str, SavedVocabulary],
    weight_files: Mapping[str, str],
) -> None:
    """Write weights, vocabularies and ``model.json``, which describes them.

    Args:
        weights: tensors by the names of the model's parameters.
        config: config of the architecture's builder.
        vocabularies: vocabularies by file name.
        weight_files: further weight files: the prefix of the weights that go there instead of to ``model.safetensors``, by
            file name.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    files = {}
    for file, prefix in weight_files.items():
        files[file] = {name: state.pop(name) for name in list(state) if name.startswith(prefix)}
    for file, tensors in {WEIGHTS_FILE: state, **files}.items():
        save_weights(tensors, directory / file)
    for name, vocabulary in vocabularies.items():
        vocabulary.save(directory / name)
    _write_description(directory, recipe, config, [WEIGHTS_FILE, *files, *vocabularies])


def _write_description(directory: Path, recipe: Recipe, config: Mapping[str, Any], files: Sequence[str]) -> None:
    document = {
        "task": recipe.task,
        "architecture": {"name": recipe.model.architecture, "config": config},
        "decoding": recipe.decoding,
        "files": list(files),
    }
    (directory / "model.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
