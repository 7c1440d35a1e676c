"""The recipe that made a model, kept in the zoo: every setting written out, of each stage of its training."""

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
"""Bytes of a recipe."""
MOST_RUNS = 100
"""Runs, each of which goes on from the one before, that are followed back."""
RECIPE_FILE = "recipe.json"
"""The resolved recipe in a run's folder."""

_OF_ALL = ("description", "task")
"""What a recipe of several stages says once for all of them."""


@dataclass(frozen=True)
class TrainingRecipe:
    """The recipe that made a model.

    Args:
        document: a resolved recipe as ``condgen train`` reads it from JSON: of one training, or with ``name``, ``task`` and
            ``stages``, of which each is a whole recipe without the task. A stage's ``init`` may be ``stage:NAME``.
    """

    document: dict[str, Any]

    @property
    def stages(self) -> list[dict[str, Any]]:
        """The recipe of each stage, in order: the document itself if there is but one."""
        return self.document.get("stages") or [self.document]

    def to_json(self) -> str:
        """The document that the zoo keeps, which ``condgen train`` reads."""
        return json.dumps(self.document, ensure_ascii=False, indent=2) + "\n"

    def to_toml(self) -> str:
        """The same recipe in TOML. What all stages share stands at the top, what is a stage's own in its ``[[stages]]``."""
        import tomli_w

        document = dict(self.document)
        if "stages" in document:
            shared, stages = _factor(self.stages)
            del document["stages"]
            document |= {**shared, "stages": stages}
        return tomli_w.dumps(_without_nulls(document))

    def prepend(self, earlier: TrainingRecipe) -> TrainingRecipe:
        """The recipe of both, this one's first stage going on from the last one of the earlier recipe."""
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
    """The recipe in ``data``; ``source`` names it in errors.

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
    """The resolved recipe of a training run; before its stages come those of the runs that it goes on from (``init``).

    Returns:
        None if the folder holds no recipe.
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
    """Names of a recipe's stages that no other stage has: their own, or that of a recipe without stages."""
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
    """The value with other texts in place of some."""
    if isinstance(value, dict):
        return {key: _replace_texts(part, others) for key, part in value.items()}
    if isinstance(value, list):
        return [_replace_texts(part, others) for part in value]
    return others.get(value, value) if isinstance(value, str) else value


def _without_nulls(value: Any) -> Any:
    """The value without keys that have none: TOML can't write them."""
    if isinstance(value, dict):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    return [_without_nulls(part) for part in value if part is not None] if isinstance(value, list) else value


def _factor(stages: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Settings that all stages share, and what each has beside them, section by section.

    A stage goes on from the one before unless it says otherwise, so a later one that begins anew says ``init = ""``.
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
