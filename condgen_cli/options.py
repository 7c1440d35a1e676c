"""Options shared by several commands: one name, one meaning and one help line each.

They are used as annotations of a command's parameters, ``device: DeviceOpt = Device.auto``; the commands of tasks get them from
``condgen_cli.tasks.options``. An option that is None means the model's own setting.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from condgen_cli.errors import UsageError
from condgen_cli.explain import METHODS
from condgen_cli.running.backends import Backend
from condgen_cli.running.limits import (
    LARGEST_BATCH,
    LARGEST_PENALTY,
    LARGEST_SEED,
    LONGEST_OUTPUT,
    MOST_SAMPLES,
    TEMPERATURES,
    WIDEST_BEAM,
)
from condgen_cli.specs import look_up

__all__ = [
    "BackendOpt",
    "BatchSizeOpt",
    "BeamOpt",
    "DataDirOpt",
    "Device",
    "DeviceOpt",
    "ExplainOpt",
    "ForceOpt",
    "Format",
    "FormatOpt",
    "HeadsOpt",
    "InputOpt",
    "LengthPenaltyOpt",
    "LimitOpt",
    "MaxLengthOpt",
    "ModelOpt",
    "NBestOpt",
    "NoRepeatNgramOpt",
    "NormaliseOpt",
    "OutputOpt",
    "ReportFormat",
    "ReportFormatOpt",
    "SampleOpt",
    "SaveAttentionOpt",
    "SeedOpt",
    "SetOpt",
    "ShowAttentionOpt",
    "SplitOpt",
    "TemperatureOpt",
    "TextsArg",
    "TokenizeOpt",
    "TopKOpt",
    "TopPOpt",
    "WeightOpt",
    "parse_methods",
    "parse_weights",
]


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class Format(StrEnum):
    """How a task prints its results."""

    text = "text"
    json = "json"
    jsonl = "jsonl"


class ReportFormat(StrEnum):
    """How a command prints a table or a report."""

    text = "text"
    json = "json"


def _within(low: float, high: float, above: bool = False) -> Callable[[Any, Any], float | None]:
    """A Typer callback that checks that an option's number lies in an interval.

    Args:
        low: lower bound.
        high: upper bound, inclusive.
        above: whether the lower bound is exclusive.
    """

    def check(param: typer.CallbackParam, value: float | None) -> float | None:
        # Typer's own bounds let NaN through
        if value is not None and not (low < value <= high if above else low <= value <= high):
            bounds = f"above {low:g} and at most {high:g}" if above else f"between {low:g} and {high:g}"
            raise UsageError(f"{param.opts[0]} must be {bounds}, not {value:g}")
        return value

    return check


ModelOpt = Annotated[
    str | None, typer.Option("--model", "-m", metavar="NAME", help="A model of the zoo, or a training run's folder.")
]
DeviceOpt = Annotated[Device, typer.Option("--device", help="Device to compute on.")]
BackendOpt = Annotated[
    Backend | None,
    typer.Option(
        "--backend",
        help="What computes: torch, onnx (on a CPU), or auto: onnx where it can.  [default: $CONDGEN_BACKEND, or auto]",
    ),
]
SeedOpt = Annotated[
    int,
    typer.Option("--seed", min=0, max=LARGEST_SEED, metavar="N", help="Random seed."),
]
BatchSizeOpt = Annotated[int, typer.Option("--batch-size", min=1, max=LARGEST_BATCH, metavar="N", help="Inputs per batch.")]

TextsArg = Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="Texts, each in quotes.")]
InputOpt = Annotated[
    str | None, typer.Option("--input", metavar="FILE", help="Read texts from the lines of a file; - for stdin.")
]

BeamOpt = Annotated[
    int | None,
    typer.Option("--beam", min=1, max=WIDEST_BEAM, metavar="N", help="Beam search with N hypotheses; 1 is greedy."),
]
NBestOpt = Annotated[
    int, typer.Option("--nbest", min=1, max=MOST_SAMPLES, metavar="N", help="Outputs for each input, best first.")
]
NoRepeatNgramOpt = Annotated[
    int | None, typer.Option("--no-repeat-ngram", min=0, metavar="N", help="Never repeat an n-gram of N tokens; 0 disables.")
]
LengthPenaltyOpt = Annotated[
    float | None,
    typer.Option(
        "--length-penalty",
        callback=_within(-LARGEST_PENALTY, LARGEST_PENALTY),
        metavar="A",
        help="Rank by log-probability / length^A.",
    ),
]
SampleOpt = Annotated[bool, typer.Option("--sample", help="Sample outputs instead of searching for the most likely.")]
TemperatureOpt = Annotated[
    float | None,
    typer.Option(
        "--temperature",
        callback=_within(*TEMPERATURES),
        metavar="T",
        help="Sampling temperature: below 1 more conservative, above 1 more varied.",
    ),
]
TopKOpt = Annotated[
    int | None, typer.Option("--top-k", min=0, metavar="K", help="Sample among the K most likely tokens; 0: all.")
]
TopPOpt = Annotated[
    float | None,
    typer.Option(
        "--top-p",
        callback=_within(0.0, 1.0, above=True),
        metavar="P",
        help="Sample among the most likely tokens that together reach probability P.",
    ),
]
WeightOpt = Annotated[
    list[str] | None,
    typer.Option("--weight", metavar="NAME=W", help="Weight of a further scorer, such as ctc=0.5; repeatable."),
]
MaxLengthOpt = Annotated[
    int | None, typer.Option("--max-length", min=1, max=LONGEST_OUTPUT, metavar="N", help="Maximum output length in tokens.")
]

ForceOpt = Annotated[str | None, typer.Option("--force", metavar="TEXT", help="Force the output TEXT, to see its attention.")]
ExplainOpt = Annotated[
    str | None,
    typer.Option(
        "--explain",
        metavar="METHOD,…",
        help=f"Show what each token depends on, by {', '.join(METHODS)}.",
    ),
]
ShowAttentionOpt = Annotated[bool, typer.Option("--show-attention", help="Print the attention at each step.")]
HeadsOpt = Annotated[
    str | None,
    typer.Option("--heads", metavar="WHICH", help="Heads to show, of models that have several: mean, align, all, LAYER.HEAD."),
]
SaveAttentionOpt = Annotated[
    Path | None,
    typer.Option(
        "--save-attention",
        metavar="PATH",
        help="Save the attention as .txt, .png, .html, .json or .npz; {stem} in PATH stands for the input's name.",
    ),
]
OutputOpt = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="Write results to PATH, not to stdout; with {stem}, {name} or {parent} in it, one file per input.",
    ),
]
FormatOpt = Annotated[Format | None, typer.Option("--format", help="Output format.  [default: by the suffix of -o, else text]")]
ReportFormatOpt = Annotated[ReportFormat, typer.Option("--format", help="Output format.")]

DataDirOpt = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="The data set's folder, in its publisher's layout.  [default: as downloaded]",
    ),
]
SplitOpt = Annotated[str | None, typer.Option("--split", metavar="NAME", help="Split of the data set.  [default: its last]")]
SetOpt = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the data set; repeatable.")]
TokenizeOpt = Annotated[
    str | None,
    typer.Option(
        "--tokenize",
        metavar="NAME",
        help="Tokenizer of BLEU: 13a, intl, zh, char, none, ja-mecab, ko-mecab, flores200; of WER: char."
        "  [default: by the language of the data set]",
    ),
]
NormaliseOpt = Annotated[
    str | None,
    typer.Option(
        "--normalise", metavar="NAME", help="Normalise outputs and references before they are compared: english (Whisper's)."
    ),
]
LimitOpt = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Only the first N items.")]


def parse_methods(text: str | None) -> tuple[str, ...]:
    """The methods of ``--explain``, separated by commas, each once.

    Raises:
        NotFoundError: if there is no such method; the hint suggests similar names.
        UsageError: if none is named.
    """
    if text is None:
        return ()
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError("--explain names no method", f"--explain {next(iter(METHODS))}")
    for name in names:
        look_up(METHODS, "method of explanation", name)
    return tuple(dict.fromkeys(names))


def parse_weights(assignments: Iterable[str]) -> dict[str, float]:
    """Parse the ``NAME=W`` values of ``--weight`` into weights by name; the last value of a name wins.

    Raises:
        UsageError: if a name is missing, or a weight is not a finite number of at least 0.
    """
    weights = {}
    for assignment in assignments:
        name, _, number = assignment.partition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not name.strip() or not 0 <= weight < math.inf:
            raise UsageError(f"--weight {assignment!r} is not NAME=W, W at least 0", "such as --weight language_model=0.3")
        weights[name.strip()] = weight
    return weights
