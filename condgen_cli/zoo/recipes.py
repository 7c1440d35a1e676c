"""The training recipe of a published model: all settings of each stage, kept in the zoo."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from condgen_cli.errors import IntegrityError
from condgen_cli.files.inputs import protect

__all__ = ["LARGEST", "TrainingRecipe", "parse_training_recipe", "recipe_of_run"]

LARGEST = 1 << 20
"""Maximum size of a recipe in bytes."""
MOST_RUNS = 100
"""Maximum number of runs that are followed back through ``init``."""
RECIPE_FILE = "recipe.json"
"""Name of the resolved recipe in a run's folder."""

_OF_ALL = ("description", "task")
"""Fields that a recipe of several stages has at its top level only."""


@dataclass(frozen=True)
class TrainingRecipe:
    """The recipe that a model was trained by.

    Args:
        document: resolved recipe in JSON, as ``condgen train`` reads it: that of one training run, or ``name``, ``task`` and
            ``stages``, each of which is a complete recipe without the task. The ``init`` of a stage may be ``stage:NAME``.
    """

    document: dict[str, Any]

    @property
    def stages(self) -> list[dict[str, Any]]:
        """The recipe of each stage in order; without stages, the document itself."""
        return self.document.get("stages") or [self.document]

    def to_json(self) -> str:
        """The recipe as JSON, as the zoo keeps it and ``condgen train`` reads it."""
        return json.dumps(self.document, ensure_ascii=False, indent=2) + "\n"

    def to_toml(self) -> str:
        """The recipe in TOML, with settings that all stages share at the top level, and others in ``[[stages]]``."""
        import tomli_w

        document = dict(self.document)
        if "stages" in document:
            shared, stages = _factor(self.stages)
            del document["stages"]
            document |= {**shared, "stages": stages}
        return tomli_w.dumps(_without_nulls(document))

    def prepend(self, earlier: TrainingRecipe) -> TrainingRecipe:
        """The recipe with the stages of an earlier recipe before its own; its first stage starts from the last of them."""
        stages = [{**stage, "name": name} for stage, name in zip(earlier.stages, _stage_names(earlier, ()), strict=True)]
        taken = [stage["name"] for stage in stages]
        own = [{**stage, "name": name} for stage, name in zip(self.stages, _stage_names(self, taken), strict=True)]
        renamed = {f"stage:{stage.get('name')}": f"stage:{new['name']}" for stage, new in zip(self.stages, own, strict=True)}
        own = [_replace_texts(stage, renamed) for stage in own]
        own[0]["init"] = f"stage:{taken[-1]}"
        document: dict[str, Any] = {key: self.document[key] for key in ("name", *_OF_ALL) if key in self.document}
        document["stages"] = [{key: value for key, value in stage.items() if key not in _OF_ALL} for stage in stages + own]
        return TrainingRecipe(document)


def parse_training_recipe(data: bytes, source: str) -> TrainingRecipe:
    """Parse the recipe in ``data``; ``source`` is its name in errors.

    Raises:
        IntegrityError: if it is malformed.
    """
    try:
        document = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise IntegrityError(f"{source} is not JSON: {error}") from None
    stages = document.get("stages", [document]) if isinstance(document, dict) else []
    if not isinstance(stages, list) or not stages or not all(isinstance(stage, dict) and "model" in stage for stage in stages):
        raise IntegrityError(f"{source} is not a recipe")
    return TrainingRecipe(document)


def recipe_of_run(run: Path) -> TrainingRecipe | None:
    """The resolved recipe of a training run, with the stages of the runs that it started from (``init``) before its own.

    Returns:
        the recipe; None if the folder contains none.
    Raises:
        IntegrityError: if a recipe is malformed.
    """
    runs: list[Path] = []
    recipes: list[TrainingRecipe] = []
    while run.resolve() not in runs and len(runs) < MOST_RUNS and (run / RECIPE_FILE).is_file():
        protect(run / RECIPE_FILE)
        runs.append(run.resolve())
        recipes.append(parse_training_recipe((run / RECIPE_FILE).read_bytes(), str(run / RECIPE_FILE)))
        earlier = recipes[-1].stages[0].get("init")
        if not isinstance(earlier, str):
            break
        run = Path(earlier)
    whole = None
    for recipe in reversed(recipes):
        whole = recipe.prepend(whole) if whole else recipe
    return whole


def _stage_names(recipe: TrainingRecipe, taken: Sequence[str]) -> list[str]:
    """Unique names of a recipe's stages, from their names, or from that of a recipe without stages."""
    names: list[str] = []
    for stage in recipe.stages:
        name = re.sub(r"[^a-z0-9]+", "-", str(stage.get("name", "")).lower()).strip("-")
        name = name if name[:1].isalpha() else f"stage-{name}".strip("-")
        number = 2
        unique = name
        while unique in (*taken, *names):
            unique, number = f"{name}-{number}", number + 1
        names.append(unique)
    return names


def _replace_texts(value: Any, others: Mapping[str, str]) -> Any:
    """The value with texts replaced wherever they occur in it."""
    if isinstance(value, dict):
        return {key: _replace_texts(part, others) for key, part in value.items()}
    if isinstance(value, list):
        return [_replace_texts(part, others) for part in value]
    return others.get(value, value) if isinstance(value, str) else value


def _without_nulls(value: Any) -> Any:
    """The value without nulls, which TOML doesn't have."""
    if isinstance(value, dict):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    return [_without_nulls(part) for part in value if part is not None] if isinstance(value, list) else value


def _factor(stages: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Settings that all stages share, and the other settings of each stage, section by section.

    By default a stage starts from the previous one, so a later stage that starts from random weights gets ``init = ""``.
    """
    shared: dict[str, Any] = {}
    own = [dict(stage) for stage in stages]
    for stage in own[1:]:
        stage["init"] = stage.get("init") or ""
    for key in stages[0]:
        if key in ("name", "init") or any(key not in stage for stage in stages):
            continue
        values = [stage[key] for stage in stages]
        if all(value == values[0] for value in values):
            shared[key] = values[0]
            for stage in own:
                del stage[key]
        elif all(isinstance(value, dict) for value in values):
            common = [name for name, part in values[0].items() if all(value.get(name) == part for value in values)]
            shared[key] = {name: values[0][name] for name in common}
            for stage, value in zip(own, values, strict=True):
                stage[key] = {name: part for name, part in value.items() if name not in common}
    return {key: value for key, value in shared.items() if value != {}}, [
        {key: value for key, value in stage.items() if value != {}} for stage in own
    ]
