"""``condgen caption``."""

from __future__ import annotations

from typing import Annotated

import typer

from condgen_caption import PHOTO_SUFFIXES
from condgen_cli.options import (
    BatchSizeOpt,
    BeamOpt,
    Device,
    DeviceOpt,
    ForceOpt,
    Format,
    FormatOpt,
    LengthPenaltyOpt,
    MaxLengthOpt,
    ModelOpt,
    NBestOpt,
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

__all__ = ["caption"]

PhotosArg = Annotated[
    list[str],
    typer.Argument(metavar="PATH|GLOB|DIR|URL…", help="Photos; a directory with all below it; - for one on standard input."),
]


def caption(
    photos: PhotosArg,
    model: ModelOpt = "sat",
    beam: BeamOpt = None,
    nbest: NBestOpt = 1,
    length_penalty: LengthPenaltyOpt = None,
    max_length: MaxLengthOpt = None,
    sample: SampleOpt = False,
    temperature: TemperatureOpt = 1.0,
    top_k: TopKOpt = 0,
    top_p: TopPOpt = 1.0,
    seed: SeedOpt = 0,
    force: ForceOpt = None,
    show_attention: ShowAttentionOpt = False,
    save_attention: SaveAttentionOpt = None,
    output: OutputOpt = None,
    format: FormatOpt = Format.text,
    device: DeviceOpt = Device.auto,
    batch_size: BatchSizeOpt = 16,
) -> None:
    """Describe photos in a sentence, and show where the model looked for each word."""
    raise typer.Exit(run_task("caption", expand(photos, PHOTO_SUFFIXES), TaskOptions.of(locals())))
