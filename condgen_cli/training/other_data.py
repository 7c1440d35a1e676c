"""Using a recipe with another data set: dropping the settings that only fit the recipe's own.

``condgen train shakespeare data.dataset=text-file`` keeps how a model is trained and drops what only fits Shakespeare: the
options of that data set, additional texts, models whose vocabulary was learnt from it.
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
"""Settings that belong to a data set for every architecture: its options, and the data sets read with it."""


def leave_own_data(values: dict[str, Any], dataset: str, given: Collection[tuple[str, ...]]) -> list[str]:
    """Delete the settings of a recipe that belong to its own data set, since ``dataset`` replaces it.

    This covers what the architecture declares (``ModelSpec.own_data``), and ``init`` if it names a run on other data. Earlier
    stages of the same recipe stay as initial models: they are trained on the new data set too.

    Args:
        values: settings of the recipe, changed in place.
        dataset: name of the new data set.
        given: key paths of the settings that the user gives, which are kept.
    Returns:
        One sentence for each deletion.
    """
    own = _at(values, ("data", "dataset"))
    if own is None or own == dataset:
        return []
    notes = [] if ("init",) in given else _leave_init(values, dataset)
    left = []
    metric = _at(values, ("training", "metric"))
    for label in _dev_labels(_at(values, ("data", "more"))):
        # the scores of a further data set's dev split end in its label
        if isinstance(metric, str) and metric.endswith(f"_{label}"):
            apply_override(values, ("training", "metric"), metric.removesuffix(f"_{label}"))
    for group in (*ALWAYS, *_own_data(values)):
        first, *others = (tuple(key.split(".")) for key in group)
        value = _at(values, first)
        stays = any(path[: len(first)] == first for path in given) and group not in ALWAYS
        if stays or is_stage(value) or is_run_on(value, dataset):
            continue
        # if the first key isn't set, the others belong to the initial model
        if value not in (None, {}, []) or (notes and any(_at(values, path) for path in others)):
            left.append(group[0] if value is not None else group[1])
            for path in (first, *others):
                apply_override(values, path, None)
                # the model no longer has these parameters
                apply_override(values, ("training", "lr_multipliers", ".".join(path)), None)
    if left:
        notes.append(f"{', '.join(left)} left out: the recipe's are for {own}, not for {dataset}")
    return notes


def _dev_labels(more: Any) -> list[str]:
    """The labels of further data sets, as ``condgen_cli.training.mixture.Source.label`` makes them."""
    sources = [one for one in more if isinstance(one, dict)] if isinstance(more, list) else []
    return ["-".join(map(str, [one.get("dataset"), *(one.get("options") or {}).values()])) for one in sources]


def _leave_init(values: dict[str, Any], dataset: str) -> list[str]:
    init = values.get("init")
    if not isinstance(init, str) or not is_run(init) or is_run_on(init, dataset):
        return []
    apply_override(values, ("init",), None)
    # multipliers of the learning rate protect weights of the initial model
    apply_override(values, ("training", "lr_multipliers"), None)
    return [f"init={init} left out, since it was not trained on {dataset}: training starts from random weights"]


def is_stage(name: Any) -> bool:
    """Whether a name refers to an earlier stage, which is trained on the same data."""
    return isinstance(name, str) and name.startswith("stage:")


def is_run(name: str) -> bool:
    """Whether a name is the folder of a run, existing or not, rather than a model of the zoo."""
    return os.sep in name or (Path(name) / "model.json").is_file()


def is_run_on(name: Any, dataset: str) -> bool:
    """Whether ``name`` is the folder of a run that was trained on ``dataset``."""
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
