"""What a recipe says of its own data set alone, and what becomes of it where another data set is named.

``condgen train shakespeare data.dataset=text-file`` keeps how a model is trained and leaves out what only fits Shakespeare: the
options of that data set, texts that lie beside it, models whose vocabulary was learnt from it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from condgen_cli.registry.plugins import manager
from condgen_cli.training.overrides import apply_override

__all__ = ["leave_own_data"]

ALWAYS = (("data.options",), ("data.more",))
"""Settings that belong to a data set whatever the architecture: its options, and what is read beside it."""


def leave_own_data(values: dict[str, Any], dataset: str, given: Collection[tuple[str, ...]]) -> list[str]:
    """Take out of a recipe what belongs to its own data set, as ``dataset`` takes its place.

    What an architecture declares (``ModelSpec.own_data``) goes, and so does ``init`` where it is a run on other data. Earlier
    stages of the same recipe stay what a stage goes on from: they are trained on the other data too.

    Args:
        values: the recipe as it is written; changed in place.
        dataset: the other data set.
        given: paths of the settings that the user gives beside the data set, which stay.
    Returns:
        Sentences that tell what was left out.
    """
    own = _at(values, ("data", "dataset"))
    if own is None or own == dataset:
        return []
    notes = [] if ("init",) in given else _leave_init(values, dataset)
    left = []
    for group in (*ALWAYS, *_own_data(values)):
        first, *others = (tuple(key.split(".")) for key in group)
        value = _at(values, first)
        stays = any(path[: len(first)] == first for path in given) and group not in ALWAYS
        if stays or is_stage(value) or is_run_on(value, dataset):
            continue
        # where the first isn't set, the others are of the model that the recipe goes on from
        if value not in (None, {}, []) or (notes and any(_at(values, path) for path in others)):
            left.append(group[0] if value is not None else group[1])
            for path in (first, *others):
                apply_override(values, path, None)
                # parameters that the model has no longer
                apply_override(values, ("training", "lr_multipliers", ".".join(path)), None)
    if left:
        notes.append(f"{', '.join(left)} left out: the recipe's are for {own}, not for {dataset}")
    return notes


def _leave_init(values: dict[str, Any], dataset: str) -> list[str]:
    init = values.get("init")
    if not isinstance(init, str) or not is_run(init) or is_run_on(init, dataset):
        return []
    apply_override(values, ("init",), None)
    # multipliers of the learning rate spare what a model has learnt before
    apply_override(values, ("training", "lr_multipliers"), None)
    return [f"init={init} left out, no run on {dataset}: training begins with random weights"]


def is_stage(name: Any) -> bool:
    """Whether a name is that of an earlier stage, which is trained on the same data."""
    return isinstance(name, str) and name.startswith("stage:")


def is_run(name: str) -> bool:
    """Whether a name is that of a run's folder, there or not, rather than one of the zoo."""
    return os.sep in name or (Path(name) / "model.json").is_file()


def is_run_on(name: Any, dataset: str) -> bool:
    """Whether a run lies there which was trained on a data set."""
    if not isinstance(name, str):
        return False
    try:
        recipe = json.loads((Path(name) / "recipe.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(_at(recipe, ("data", "dataset")) == dataset)


def _own_data(values: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    spec = manager().models.get(_at(values, ("model", "architecture")) or "")
    return spec.own_data if spec else ()


def _at(values: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        values = values.get(name) if isinstance(values, dict) else None
    return values
