"""Sections of a recipe whose settings a plugin declares."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["DataOptions", "Options"]


class Options(BaseModel):
    """Settings with defaults; unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataOptions(Options):
    """``[data]``: the training data. A plugin adds its own settings in a subclass.

    Args:
        dataset: name of the data set.
        options: options of the data set, as ``--set`` gives them.
        limit: number of items of the training split to use, from its beginning; 0: all.
        dev_limit: number of items of the dev split to evaluate on, from its beginning; 0: all.
    """

    dataset: str
    options: dict[str, str] = Field({})
    limit: int = Field(0, ge=0)
    dev_limit: int = Field(0, ge=0)
