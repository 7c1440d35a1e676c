"""Arguments and options of ``condgen chat``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from condgen_cli.errors import UsageError
from condgen_cli.files.sources import STDIN
from condgen_cli.inputs.lines import Texts, text_inputs
from condgen_cli.options import Format
from condgen_cli.tasks.job import TaskOptions

__all__ = ["chat"]

OnceOpt = Annotated[
    str | None,
    typer.Option("--once", metavar="TEXT", help="Reply to one turn, or to a dialogue as JSON, and exit."),
]
DialoguesOpt = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="FILE",
        help="Reply to each line of a file: a turn, or a dialogue as a JSON list of turns; - for stdin.",
    ),
]


def chat(options: TaskOptions, once: OnceOpt = None, input: DialoguesOpt = None) -> Texts:
    """Talk with a model, and show which turns a reply looks back at.

    At a terminal this is a conversation: /help lists its commands, Ctrl-D ends it. Piped input is read as with --input.
    """
    if once is not None:
        return text_inputs([once], input)
    if input is None and sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty():
        _converse(options)
        raise typer.Exit
    return text_inputs([], STDIN if input is None else input)


def _converse(options: TaskOptions) -> None:
    elsewhere = options.nbest > 1 or options.force is not None or options.save_attention or options.output
    if elsewhere or options.explain is not None or options.format not in (None, Format.text):
        raise UsageError(
            "--nbest, --force, --save-attention, --explain, --output and --format are not for a conversation",
            "--once TEXT, or --input FILE",
        )
    from condgen_chat.terminal import converse

    converse(options)
