"""The file of a recipe: TOML with the settings of one training run, or of several stages that make one model; overrides.

A file without ``[[stages]]`` is one ``Recipe``. Otherwise each stage is a table of the settings that differ from the top level.
A stage starts from the model of the previous stage unless it sets ``init``, and may name an earlier one as ``"stage:NAME"``.
"""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condgen_cli.errors import NotFoundError, UsageError
from condgen_cli.files.inputs import refuse_device
from condgen_cli.terminal import console
from condgen_cli.terminal.suggestions import suggestion
from condgen_cli.training.other_data import leave_own_data
from condgen_cli.training.overrides import apply_override, check_plain, parse_override
from condgen_cli.training.recipe import NAME, Recipe, check, check_known

__all__ = ["REFERENCE", "Stage", "Stages", "parse_recipe", "parse_stages", "read_description", "read_recipe", "read_text"]

REFERENCE = "stage:"
"""Prefix of a setting that names an earlier stage; it is replaced by the folder of that stage's run."""

_STAGE_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_OF_ARCHITECTURE = ("model", "data", "objective", "decoding")
"""Sections of the top level that a stage with another architecture doesn't inherit."""
_OF_ANY_DATA = ("dataset", "options", "limit", "dev_limit")
"""Keys of ``[data]`` that such a stage inherits nevertheless: it reads the same data."""

Setting = tuple[tuple[str, ...], Any]


@dataclass(frozen=True)
class Stage:
    """One stage of a recipe, a training run of its own.

    Args:
        name: name for ``--stage`` and ``"stage:NAME"``; empty for a recipe without ``[[stages]]``.
        number: number of the stage, from 1.
        recipe: settings of the stage; ``init`` and settings of ``data`` may be ``"stage:NAME"``.
    """

    name: str
    number: int
    recipe: Recipe

    @property
    def folder(self) -> str:
        """Name of the stage's folder within that of the run."""
        return f"{self.number}-{self.name}"

    @property
    def references(self) -> list[str]:
        """Names of the earlier stages that this one uses, in order of first mention."""
        texts = [self.recipe.init, *_texts(self.recipe.data.options)]
        found = [text.removeprefix(REFERENCE) for text in texts if text and text.startswith(REFERENCE)]
        return list(dict.fromkeys(found))

    def resolve_references(self, folders: Mapping[str, Path]) -> Recipe:
        """The recipe with references to earlier stages replaced by the folders of their runs."""
        document = self.recipe.model_dump(mode="json")
        parts = {key: _replace_references(document[key], folders) for key in ("init", "data")}
        return check(Recipe, {**document, **parts})


@dataclass(frozen=True)
class Stages:
    """The content of a recipe's file: one stage or more.

    Args:
        name: name of the recipe and of the run's default folder.
        task: name of the architectures' task.
        description: one-line description; may be empty.
        stages: the stages in order; the model of the last one is the recipe's.
    """

    name: str
    task: str
    description: str
    stages: tuple[Stage, ...]

    @property
    def single(self) -> bool:
        """Whether the recipe has no ``[[stages]]``, so that its run has no folders of stages."""
        return not self.stages[0].name

    def find(self, name: str) -> Stage:
        """The stage with a name or a number.

        Raises:
            UsageError: if there is none.
        """
        if self.single:
            raise UsageError(f"the recipe {self.name} has no stages")
        for stage in self.stages:
            if name in (stage.name, str(stage.number)):
                return stage
        known = [stage.name for stage in self.stages]
        hint = suggestion(name, known, otherwise=f"its stages: {', '.join(known)}")
        raise UsageError(f"the recipe {self.name} has no stage {name!r}", hint)

    def to_json(self) -> str:
        """All settings of all stages as JSON, with defaults; ``parse_stages`` reads it back as equal stages."""
        if self.single:
            return self.stages[0].recipe.to_json()
        stages = []
        for stage in self.stages:
            settings = stage.recipe.model_dump(mode="json")
            stages.append({"name": stage.name} | {key: settings[key] for key in settings if key not in ("name", "task")})
        document = {"name": self.name, "description": self.description, "task": self.task, "stages": stages}
        return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def read_recipe(path: Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read the file of a recipe without stages; see ``parse_recipe``.

    Raises:
        NotFoundError: if there is no such file.
        UsageError: if it is not a valid recipe, or has stages.
    """
    return parse_recipe(read_text(path), path.name, overrides)


def read_text(path: Path) -> str:
    """Read the text of a recipe's file.

    Raises:
        NotFoundError: if there is no such file.
        UsageError: if it can't be read.
        InputError: if it is a device.
    """
    refuse_device(path, str(path))
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(f"no recipe {path}", "condgen recipe ls") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from None


def read_description(text: str) -> str:
    """The ``description`` of a recipe; empty if it has none or the recipe can't be parsed."""
    try:
        description = tomllib.loads(text).get("description")
    except (tomllib.TOMLDecodeError, RecursionError):
        return ""
    return description if isinstance(description, str) else ""


def parse_recipe(
    text: str,
    name: str,
    overrides: Iterable[str] = (),
    tell: Callable[[str], None] = console.info,
    stage: str | None = None,
) -> Recipe:
    """The settings of one training run: of a recipe without stages, or of one stage on its own.

    Args:
        stage: name or number of a stage; None for a recipe without stages.
        text, name, overrides, tell: see ``parse_stages``.
    Raises:
        UsageError: as ``parse_stages``; if the recipe has stages and none is named; if the stage uses the run of another.
    """
    stages = parse_stages(text, name, overrides, tell, first=stage)
    if stages.single and stage is None:
        return stages.stages[0].recipe
    if stage is None:
        raise UsageError(f"{name} has stages", f"name one: {', '.join(one.name for one in stages.stages)}")
    found = stages.find(stage)
    if found.references:
        hint = "init= starts from random weights"
        raise UsageError(f"{name}: stage {found.name} needs the run of stage {found.references[0]}", hint)
    return found.recipe.model_copy(update={"name": stages.name})


def parse_stages(
    text: str,
    name: str,
    overrides: Iterable[str] = (),
    tell: Callable[[str], None] = console.info,
    *,
    first: str | None = None,
) -> Stages:
    """Parse a recipe in TOML, or in the JSON of ``Recipe.to_json`` or ``Stages.to_json``.

    An override applies to all stages, one of ``stages.NAME.key.path`` or ``stages.NUMBER.key.path`` to one. ``init`` sets the
    initial model of the first stage. If another data set is given, settings that only fit the recipe's own are dropped, see
    ``other_data``.

    Args:
        text: text of the recipe.
        name: name of its file, for messages; JSON if it ends in .json.
        overrides: settings ``key.path=value``.
        tell: function that is called with a line for each dropped setting.
        first: name or number of the first stage to be run; None: the recipe's first.
    Raises:
        UsageError: if the text can't be parsed, a key is unknown or a value is invalid.
    """
    values = _load(text, name)
    settings = [parse_override(override) for override in overrides]
    description = values.pop("description", "")
    if not isinstance(description, str):
        raise UsageError(f"{name}: description: input should be a valid string (is {description!r})")
    lines: dict[str, None] = {}
    if "stages" not in values:
        for path, _ in settings:
            if path[0] == "stages":
                raise UsageError(f"{name} has no stages", "condgen recipe ls")
        recipe = _make(values, settings, name, (), lines)
        _check_references(recipe, (), name)
        stages = Stages(recipe.name, recipe.task, description, (Stage("", 1, recipe),))
    else:
        stages = _parse_all(values, settings, name, description, first, lines)
    for line in lines:
        tell(line)
    return stages


def _load(text: str, name: str) -> dict[str, Any]:
    try:
        values = json.loads(text) if name.endswith(".json") else tomllib.loads(text)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, RecursionError) as error:
        reason = str(error)
        raise UsageError(f"{name}: {reason[:1].lower()}{reason[1:]}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{name}: not a table of settings")
    return values


def _parse_all(
    values: dict[str, Any], settings: Sequence[Setting], file: str, description: str, first: str | None, lines: dict[str, None]
) -> Stages:
    tables = values.pop("stages")
    names = _stage_names(tables, file)
    name = _override(settings, ("name",), values.get("name"))
    begin = 0 if first is None else _index(first, names, file)
    general = [setting for setting in settings if setting[0][0] != "stages" and setting[0] != ("name",)]
    own: dict[int, list[Setting]] = {}
    for path, value in settings:
        if path[0] == "stages":
            if len(path) < 3:
                raise UsageError(f"{'.'.join(path)} is not a setting of a stage", f"stages.{names[0]}.training.epochs=3")
            own.setdefault(_index(path[1], names, file), []).append((path[2:], value))
    stages = []
    for index, table in enumerate(tables):
        merged = _merge(values, table)
        if "init" not in table:
            merged["init"] = f"{REFERENCE}{names[index - 1]}" if index else values.get("init")
        merged["name"] = f"{name}-{names[index]}"
        applies = [setting for setting in general if _applies(setting[0], values, merged)]
        kept = [setting for setting in applies if index == begin or setting[0] != ("init",)]
        recipe = _make(merged, [*kept, *own.get(index, ())], file, ("stages", names[index]), lines)
        _check_references(recipe, names[:index], file)
        stages.append(Stage(names[index], index + 1, recipe))
    if len({stage.recipe.task for stage in stages}) > 1:
        raise UsageError(f"{file}: all stages of a recipe must have the same task")
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise UsageError(f"{file}: name: string should match pattern {NAME!r} (is {name!r})")
    return Stages(name, stages[0].recipe.task, description, tuple(stages))


def _stage_names(tables: Any, file: str) -> list[str]:
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise UsageError(f"{file}: stages: one [[stages]] table or more")
    names: list[str] = []
    for number, table in enumerate(tables, 1):
        name = table.get("name")
        if not isinstance(name, str) or not _STAGE_NAME.fullmatch(name):
            raise UsageError(f"{file}: stage {number}: its name has to be lower-case letters, digits and hyphens (is {name!r})")
        if name in names:
            raise UsageError(f"{file}: two stages are called {name!r}")
        names.append(name)
    return names


def _index(key: str, names: Sequence[str], file: str) -> int:
    if key in names:
        return names.index(key)
    if key.isdecimal() and 1 <= int(key) <= len(names):
        return int(key) - 1
    hint = suggestion(key, names, otherwise=f"its stages: {', '.join(names)}")
    raise UsageError(f"{file} has no stage {key!r}", hint)


def _merge(top: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a stage: those of the top level, updated key by key in each section; an empty string unsets a key."""
    merged = copy.deepcopy(dict(top))
    other = _is_other(table.get("model"), top.get("model"))
    for section in _OF_ARCHITECTURE if other else ():
        if isinstance(values := merged.get(section), dict):
            merged[section] = {key: values[key] for key in _OF_ANY_DATA if key in values and section == "data"}
    for key, value in table.items():
        if isinstance(value, dict):
            base = merged.get(key)
            merged[key] = {**(base if isinstance(base, dict) else {}), **copy.deepcopy(value)}
            for name in [name for name, part in merged[key].items() if part == ""]:
                del merged[key][name]
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _is_other(own: Any, top: Any) -> bool:
    """Whether the ``[model]`` of a stage has another architecture than that of the top level."""
    if not isinstance(own, dict) or not isinstance(top, dict) or "architecture" not in top:
        return False
    return bool(own.get("architecture", top["architecture"]) != top["architecture"])


def _applies(path: tuple[str, ...], top: Mapping[str, Any], merged: Mapping[str, Any]) -> bool:
    """Whether an override for all stages applies to this one: settings of an architecture don't apply to another."""
    if path[0] not in _OF_ARCHITECTURE or not _is_other(merged.get("model"), top.get("model")):
        return True
    return path[0] == "data" and path[1:2] != () and path[1] in _OF_ANY_DATA


def _make(
    values: dict[str, Any], settings: Sequence[Setting], file: str, place: tuple[str, ...], lines: dict[str, None]
) -> Recipe:
    """A recipe from its settings and the overrides; a line for each setting dropped for another data set goes to ``lines``."""
    dataset = _override(settings, ("data", "dataset"), None)
    if isinstance(dataset, str):
        given = [path for path, value in settings if value is not None or path == ("init",)]
        lines.update(dict.fromkeys(leave_own_data(values, dataset, given)))
    for path, value in settings:
        if value is None:
            check_known(path, file)
        apply_override(values, path, value)
    check_plain(values, file)
    return check(Recipe, values, *place, source=file)


def _override(settings: Sequence[Setting], wanted: tuple[str, ...], default: Any) -> Any:
    return next((value for path, value in reversed(settings) if path == wanted), default)


def _check_references(recipe: Recipe, earlier: Sequence[str], file: str) -> None:
    for name in Stage("", 1, recipe).references:
        if name not in earlier:
            known = f"earlier stages: {', '.join(earlier)}" if earlier else "resume a stage with --resume of the whole run"
            raise UsageError(f"{file}: {REFERENCE}{name} is not an earlier stage", known)


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _replace_references(value: Any, folders: Mapping[str, Path]) -> Any:
    if isinstance(value, str) and value.startswith(REFERENCE):
        return str(folders[value.removeprefix(REFERENCE)])
    if isinstance(value, dict):
        return {key: _replace_references(part, folders) for key, part in value.items()}
    if isinstance(value, list):
        return [_replace_references(part, folders) for part in value]
    return value
