"""``condgen caption``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from condgen_caption import KINDS
from condgen_cli.options import (
    BatchSizeOpt,
    BeamOpt,
    Device,
    DeviceOpt,
    ForceOpt,
    FormatOpt,
    LengthPenaltyOpt,
    MaxLengthOpt,
    NBestOpt,
    NoRepeatNgramOpt,
    OutputOpt,
    SampleOpt,
    SaveAttentionOpt,
    SeedOpt,
    ShowAttentionOpt,
    TemperatureOpt,
    TopKOpt,
    TopPOpt,
)
from condgen_cli.sources import expand
from condgen_cli.tasks import TaskOptions, run_task

if TYPE_CHECKING:
    from condgen_cli.item import Item

__all__ = ["caption"]

PHOTO_MODEL, VIDEO_MODEL = "sat", "sat-video"

ModelOpt = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="A model of the zoo, or a training run's folder.  [default: sat for photos, sat-video for videos]",
    ),
]

InputsArg = Annotated[
    list[str],
    typer.Argument(metavar="PATH|GLOB|DIR|URL…", help="Photos, videos; a directory with all below it; - for standard input."),
]


def caption(
    inputs: InputsArg,
    model: ModelOpt = None,
    beam: BeamOpt = None,
    nbest: NBestOpt = 1,
    length_penalty: LengthPenaltyOpt = None,
    no_repeat_ngram: NoRepeatNgramOpt = None,
    max_length: MaxLengthOpt = None,
    sample: SampleOpt = False,
    temperature: TemperatureOpt = None,
    top_k: TopKOpt = None,
    top_p: TopPOpt = None,
    seed: SeedOpt = 0,
    force: ForceOpt = None,
    show_attention: ShowAttentionOpt = False,
    save_attention: SaveAttentionOpt = None,
    output: OutputOpt = None,
    format: FormatOpt = None,
    device: DeviceOpt = Device.auto,
    batch_size: BatchSizeOpt = 16,
) -> None:
    """Describe photos and videos in a sentence, and show where the model looked for each word."""
    options = TaskOptions.of({**locals(), "model": model or PHOTO_MODEL})
    raise typer.Exit(run_task("caption", expand(inputs, kinds=KINDS), options, None if model else _default_model))


def _default_model(item: Item) -> str:
    return VIDEO_MODEL if hasattr(item.condition, "clip") else PHOTO_MODEL
