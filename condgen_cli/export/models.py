"""The graphs of a model of a zoo or a run: made, and compared with the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from condgen_cli.contract import SequenceContract
from condgen_cli.data.store import dataset_spec, open_dataset
from condgen_cli.errors import CondgenError, UsageError
from condgen_cli.export.comparison import Difference, compare
from condgen_cli.export.pieces import make_graphs
from condgen_cli.files.weights import read_arrays
from condgen_cli.item import Item
from condgen_cli.model import SequenceModel
from condgen_cli.running.backends.building import call_builder, find_spec
from condgen_cli.running.backends.onnx import SUFFIX
from condgen_cli.running.backends.sessions import open_session
from condgen_cli.running.backends.torch import build_model
from condgen_cli.running.bundle import Bundle

__all__ = ["ITEMS", "compared_graphs", "dev_items", "has_graphs"]

ITEMS = 200
"""Number of items that a model is compared on."""


def has_graphs(bundle: Bundle) -> bool:
    """Whether models of the bundle's architecture can be run by graphs."""
    return bool(find_spec(bundle).graphs)


def compared_graphs(bundle: Bundle, items: Sequence[Item]) -> tuple[dict[str, bytes], Difference]:
    """The graphs of a model by file name, and how much they differ from it.

    Args:
        bundle: the model with its files, of an architecture that has graphs.
        items: inputs to compare on; the model's own examples are added.
    Raises:
        CondgenError: if the graphs can't be made, or compute something else than the model.
    """
    model = build_model(bundle)
    if not isinstance(model, SequenceModel):
        raise UsageError(f"{bundle.name} writes no tokens: only models that do have graphs")
    weights = read_arrays(bundle.files, bundle.name)
    graphs = make_graphs(model, {name: array.dtype for name, array in weights.items()})
    sessions = {name: open_session(Path(f"{name}{SUFFIX}"), weights, content=content) for name, content in graphs.items()}
    computed: SequenceContract = call_builder(find_spec(bundle).graphs, bundle, sessions)
    difference = compare(bundle, model, computed, [*items, *model.examples()])
    return {f"{name}{SUFFIX}": content for name, content in graphs.items()}, difference


def dev_items(recipe: Mapping[str, Any] | None, limit: int = ITEMS) -> list[Item]:
    """Items of the dev split of the data that a model was trained on; none if they aren't here.

    Args:
        recipe: the recipe of the last stage of training; None: unknown.
        limit: largest number of items.
    """
    data = (recipe or {}).get("data", {})
    try:
        spec = dataset_spec(data.get("dataset", ""))
        split = "dev" if "dev" in spec.splits else spec.splits[-1]
        options = {name: str(value) for name, value in data.get("options", {}).items()}
        items = open_dataset(spec.name, split, data.get("data_dir"), options)
        return [replace(item, references=()) for item in islice(items, limit)]
    except (CondgenError, OSError):
        return []
