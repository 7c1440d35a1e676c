"""A comparison's file (TOML): a question, and the variants whose scores answer it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from condgen_cli.errors import NotFoundError, UsageError
from condgen_cli.files import protect
from condgen_cli.specs import look_up, package_text
from condgen_cli.training.recipe import check

__all__ = ["ComparisonFile", "Evaluate", "Variant", "find_comparison", "parse_comparison"]

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Evaluate(_Section):
    """``[evaluate]``: the data and metrics that all variants are scored by.

    Args:
        dataset: name of the data set.
        split: name of the split; default: the data set's last, as for ``condgen eval``.
        options: options of the data set, as for ``--set``; groups that they select get a table of their own.
        metrics: keys of the scores; default: those of the data set, or else of the task.
    """

    dataset: str
    split: str | None = None
    options: dict[str, str] = {}
    metrics: list[str] = []


class Variant(_Section):
    """``[[variants]]``: one row of the table.

    Args:
        label: label of the row, also the name of the run's folder.
        settings: ``key.path=value`` each, after the comparison's.
        recipe: in place of the comparison's, and so its ``stage``.
        stage: the stage of the recipe that is trained, if it has some.
        series: scores of variants of one are drawn as a line over the comparison's ``axis``.
        at: the variant's place there; by number of parameters it has one already.
    """

    label: str = Field(pattern=_NAME)
    settings: list[str] = []
    recipe: str | None = None
    stage: str | None = None
    series: str | None = None
    at: float | None = Field(None, gt=0)


class ComparisonFile(_Section):
    """A whole comparison.

    Args:
        name: also the default folder's name.
        question: what the table answers.
        recipe: a recipe, as ``condgen train`` takes it, for variants without their own.
        stage: the stage of it that is trained, if it has some.
        settings: ``key.path=value`` each, for all variants.
        seeds: every variant is trained with each of them; empty: once, with its recipe's.
        axis: what the variants of a series differ in, such as hours of data; None: in their number of parameters.
        evaluate, variants: the sections.
    """

    name: str = Field(pattern=_NAME)
    question: str
    recipe: str | None = None
    stage: str | None = None
    settings: list[str] = []
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = []
    axis: str | None = None
    evaluate: Evaluate
    variants: list[Variant] = Field(min_length=1)


def find_comparison(source: str) -> tuple[str, str]:
    """The text of a comparison and its file's name.

    Args:
        source: a TOML file, or the name of a plugin's comparison.
    Raises:
        NotFoundError: if it is neither.
        UsageError, PluginError: if the user's or the plugin's file can't be read.
    """
    path = Path(source)
    if path.is_file() or path.suffix == ".toml" or os.sep in source:
        protect(path)
        try:
            return path.read_text(encoding="utf-8"), path.name
        except FileNotFoundError:
            raise NotFoundError(f"no comparison {path}", "condgen comparison ls") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read {path}: {error}") from None
    from condgen_cli.registry.plugins import manager

    spec = look_up(manager().comparisons, "comparison", source)
    return package_text(spec.package, spec.file, f"the comparison {source}"), spec.file


def parse_comparison(text: str, file: str) -> ComparisonFile:
    """Make a comparison of TOML; ``file`` is its name in messages.

    Raises:
        UsageError: if the text can't be parsed, a key is unknown, a value doesn't fit, a label or a seed comes twice, a variant
            has no recipe, or one of a series no place on the axis.
    """
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        reason = str(error)
        raise UsageError(f"{file}: {reason[:1].lower()}{reason[1:]}") from None
    variants = values.get("variants")
    for index, variant in enumerate(variants if isinstance(variants, list) else ()):
        # on their own first: the hint of an unknown key then names a variant's keys
        check(Variant, variant, "variants", str(index), source=file)
    comparison = check(ComparisonFile, values, source=file)
    _check_unique((variant.label for variant in comparison.variants), f"{file}: two variants are called")
    _check_unique(comparison.seeds, f"{file}: seeds: there are two of")
    for variant in comparison.variants:
        if not (variant.recipe or comparison.recipe):
            raise UsageError(f"{file}: variant {variant.label!r} has no recipe", "give it one, or the comparison")
        if (variant.at is None) == bool(variant.series and comparison.axis):
            raise UsageError(f"{file}: variant {variant.label!r}: at: its place on the axis goes with axis and series")
    return comparison


def _check_unique(values: Iterable[str | int], what: str) -> None:
    seen = set()
    for value in values:
        # folders are named so, and not every file system tells cases apart
        key = str(value).casefold()
        if key in seen:
            raise UsageError(f"{what} {value!r}")
        seen.add(key)
