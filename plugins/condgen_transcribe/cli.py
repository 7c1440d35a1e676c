"""``condgen transcribe``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from condgen_cli.options import (
    BatchSizeOpt,
    BeamOpt,
    Device,
    DeviceOpt,
    ForceOpt,
    LengthPenaltyOpt,
    MaxLengthOpt,
    ModelOpt,
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
    WeightOpt,
)
from condgen_cli.sources import expand
from condgen_cli.tasks import TaskOptions, run_task
from condgen_transcribe import AUDIO_SUFFIXES, FILM_SUFFIXES

__all__ = ["transcribe"]


class Format(StrEnum):
    """How transcripts are printed."""

    text = "text"
    json = "json"
    jsonl = "jsonl"
    srt = "srt"
    vtt = "vtt"


RecordingsArg = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH|GLOB|DIR|URL…", help="Recordings, films; a directory with all below it; - for standard input."
    ),
]
FormatOpt = Annotated[
    Format | None,
    typer.Option(
        "--format",
        help="How results are printed; srt and vtt are subtitles.  [default: by the suffix of -o, else text]",
    ),
]


def transcribe(
    recordings: RecordingsArg,
    model: ModelOpt = "las",
    beam: BeamOpt = None,
    nbest: NBestOpt = 1,
    length_penalty: LengthPenaltyOpt = None,
    no_repeat_ngram: NoRepeatNgramOpt = None,
    max_length: MaxLengthOpt = None,
    weight: WeightOpt = None,
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
    """Write down what is said in recordings, and show where the model listened for each letter."""
    found = expand(recordings, AUDIO_SUFFIXES + FILM_SUFFIXES, kinds=("sound",))
    raise typer.Exit(run_task("transcribe", found, TaskOptions.of(locals())))
