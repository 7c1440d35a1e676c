"""Arguments of ``condgen transcribe``."""

from __future__ import annotations

from typing import Annotated

import typer

from condgen_cli.inputs.expansion import Inputs, expand
from condgen_transcribe import AUDIO_SUFFIXES, FILM_SUFFIXES

__all__ = ["transcribe"]

RecordingsArg = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH|GLOB|DIR|URL…", help="Recordings and videos; directories with all below; - for standard input."
    ),
]


def transcribe(recordings: RecordingsArg) -> Inputs:
    """Write down what is said in recordings, and show where the model listened for each letter."""
    return expand(recordings, AUDIO_SUFFIXES + FILM_SUFFIXES, kinds=("sound",))
