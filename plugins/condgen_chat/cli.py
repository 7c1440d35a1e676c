"""``condgen chat``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from condgen_cli.errors import UsageError
from condgen_cli.lines import text_inputs
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
from condgen_cli.sources import STDIN
from condgen_cli.tasks import TaskOptions, run_task

__all__ = ["chat"]

OnceOpt = Annotated[
    str | None,
    typer.Option("--once", metavar="TEXT", help="Reply to one turn, or to a dialogue as JSON, and end."),
]
DialoguesOpt = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="FILE",
        help="Reply to each line of a file: a turn, or a dialogue as a JSON list of turns; - for stdin.",
    ),
]


def chat(
    once: OnceOpt = None,
    input: DialoguesOpt = None,
    model: ModelOpt = "hred",
    beam: BeamOpt = None,
    nbest: NBestOpt = 1,
    length_penalty: LengthPenaltyOpt = None,
    no_repeat_ngram: NoRepeatNgramOpt = None,
    max_length: MaxLengthOpt = None,
    sample: SampleOpt = False,
    temperature: TemperatureOpt = None,
    top_k: TopKOpt = None,
    top_p: TopPOpt = None,
    weight: WeightOpt = None,
    seed: SeedOpt = 0,
    force: ForceOpt = None,
    show_attention: ShowAttentionOpt = False,
    save_attention: SaveAttentionOpt = None,
    output: OutputOpt = None,
    format: FormatOpt = None,
    device: DeviceOpt = Device.auto,
    batch_size: BatchSizeOpt = 16,
) -> None:
    """Talk with a model, and show which turns a reply looks back at.

    At a terminal this is a conversation: /help tells its commands, Ctrl-D ends it. Dialogues that are piped in are read as
    with --input.
    """
    options = TaskOptions.of(locals())
    if once is None and input is None and sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty():
        if nbest > 1 or force is not None or save_attention or output or format not in (None, Format.text):
            raise UsageError(
                "--nbest, --force, --save-attention, --output and --format are not for a conversation",
                "--once TEXT, or --input FILE",
            )
        from condgen_chat.terminal import converse

        raise typer.Exit(converse(options))
    file = STDIN if once is None and input is None else input
    raise typer.Exit(run_task("chat", text_inputs([] if once is None else [once], file), options))
