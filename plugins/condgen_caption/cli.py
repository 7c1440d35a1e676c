"""Arguments and options of ``condgen caption``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from condgen_caption import KINDS
from condgen_cli.inputs.expansion import expand
from condgen_cli.tasks.job import Job, TaskOptions

if TYPE_CHECKING:
    from condgen_cli.item import Item

__all__ = ["caption"]

PHOTO_MODEL, VIDEO_MODEL = "sat", "sat-video"

InputsArg = Annotated[
    list[str],
    typer.Argument(metavar="PATH|GLOB|DIR|URL…", help="Photos and videos; directories with all below; - for standard input."),
]


def caption(inputs: InputsArg, options: TaskOptions) -> Job:
    """Describe photos and videos in a sentence, and show where the model looked for each word."""
    return Job(expand(inputs, kinds=KINDS), options, choose=_default_model)


def _default_model(item: Item) -> str:
    from condgen_cli.data.clip import ClipSource

    return VIDEO_MODEL if isinstance(item.condition, ClipSource) else PHOTO_MODEL
