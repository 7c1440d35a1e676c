"""Sections of a recipe that a plugin describes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["DataOptions", "Options"]


class Options(BaseModel):
    """Settings with defaults, checked when a recipe is read; unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataOptions(Options):
    """``[data]``: the data set that is trained on. A plugin adds its own settings in a subclass.

    Args:
        dataset: its name.
        options: the data set's own, as ``--set`` gives them.
        limit: items of the training split that are used, its first ones; 0 for all.
        dev_limit: items of the dev split that each evaluation is over, its first ones; 0 for all.
    """

    dataset: str
    options: dict[str, str] = Field({})
    limit: int = Field(0, ge=0)
    dev_limit: int = Field(0, ge=0)
