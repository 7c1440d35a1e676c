"""``condgen translate``."""

from __future__ import annotations

from typing import Annotated

import typer

from condgen_cli.lines import text_inputs
from condgen_cli.options import (
    BatchSizeOpt,
    BeamOpt,
    Device,
    DeviceOpt,
    ForceOpt,
    FormatOpt,
    InputOpt,
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
)
from condgen_cli.tasks import TaskOptions, run_task

__all__ = ["translate"]

TextsArg = Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="Texts, each in quotes.")]


def translate(
    texts: TextsArg = None,
    input: InputOpt = None,
    model: ModelOpt = "nmt-zh-en",
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
    """Translate texts or the lines of a file, and show which words each word comes from."""
    raise typer.Exit(run_task("translate", text_inputs(texts or [], input), TaskOptions.of(locals())))
