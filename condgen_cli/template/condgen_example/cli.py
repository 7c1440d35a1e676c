"""The command: the options that all tasks share, each with its name, its meaning and its help, and what is the task's own.

Nothing heavy is imported here, so that its --help stays quick; the work is the core's.
"""

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


def command(
    texts: Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="Words, each a text.")] = None,
    input: InputOpt = None,
    model: ModelOpt = "example",
    beam: BeamOpt = None,
    nbest: NBestOpt = 1,
    length_penalty: LengthPenaltyOpt = None,
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
    """Write a word in capitals, letter by letter."""
    raise typer.Exit(run_task("example", text_inputs(texts or [], input), TaskOptions.of(locals())))
