"""Options that commands share: one name, one meaning, one help line each.

They are annotations of a command's parameters, ``device: DeviceOpt = Device.auto``; the commands of tasks have them through
``condgen_cli.tasks.options``. An option whose default is None leaves the choice to the model's own setting.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from condgen_cli.errors import UsageError
from condgen_cli.running.limits import (
    LARGEST_BATCH,
    LARGEST_PENALTY,
    LARGEST_SEED,
    LONGEST_OUTPUT,
    MOST_SAMPLES,
    TEMPERATURES,
    WIDEST_BEAM,
)

__all__ = [
    "BatchSizeOpt",
    "BeamOpt",
    "DataDirOpt",
    "Device",
    "DeviceOpt",
    "ForceOpt",
    "Format",
    "FormatOpt",
    "InputOpt",
    "LengthPenaltyOpt",
    "LimitOpt",
    "MaxLengthOpt",
    "ModelOpt",
    "NBestOpt",
    "NoRepeatNgramOpt",
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
    """A check that the number of an option lies in an interval.

    Args:
        low: lower bound.
        high: upper bound, which the number may be.
        above: whether the number must exceed the lower bound.
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
DeviceOpt = Annotated[Device, typer.Option("--device", help="Where to compute.")]
SeedOpt = Annotated[
    int,
    typer.Option("--seed", min=0, max=LARGEST_SEED, metavar="N", help="Seed of everything random."),
]
BatchSizeOpt = Annotated[
    int, typer.Option("--batch-size", min=1, max=LARGEST_BATCH, metavar="N", help="Inputs computed at once.")
]

TextsArg = Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="Texts, each in quotes.")]
InputOpt = Annotated[str | None, typer.Option("--input", metavar="FILE", help="Read texts from a file's lines; - for stdin.")]

BeamOpt = Annotated[
    int | None,
    typer.Option("--beam", min=1, max=WIDEST_BEAM, metavar="N", help="Beam search with N hypotheses; 1 is greedy."),
]
NBestOpt = Annotated[
    int, typer.Option("--nbest", min=1, max=MOST_SAMPLES, metavar="N", help="Outputs for each input, best first.")
]
NoRepeatNgramOpt = Annotated[
    int | None, typer.Option("--no-repeat-ngram", min=0, metavar="N", help="Write no N tokens in a row twice; 0: no such rule.")
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
SampleOpt = Annotated[bool, typer.Option("--sample", help="Draw outputs instead of searching for the likeliest.")]
TemperatureOpt = Annotated[
    float | None,
    typer.Option(
        "--temperature", callback=_within(*TEMPERATURES), metavar="T", help="When drawing: below 1 bolder, above 1 more varied."
    ),
]
TopKOpt = Annotated[
    int | None, typer.Option("--top-k", min=0, metavar="K", help="When drawing: among the K likeliest only; 0: all.")
]
TopPOpt = Annotated[
    float | None,
    typer.Option(
        "--top-p", callback=_within(0.0, 1.0, above=True), metavar="P", help="When drawing: among the likeliest that sum to P."
    ),
]
WeightOpt = Annotated[
    list[str] | None,
    typer.Option("--weight", metavar="NAME=W", help="Weight of a scorer beside the model, such as ctc=0.5; repeatable."),
]
MaxLengthOpt = Annotated[
    int | None, typer.Option("--max-length", min=1, max=LONGEST_OUTPUT, metavar="N", help="Longest output, in tokens.")
]

ForceOpt = Annotated[str | None, typer.Option("--force", metavar="TEXT", help="Attention while the model is made to say TEXT.")]
ShowAttentionOpt = Annotated[bool, typer.Option("--show-attention", help="Print where the model looked at each step.")]
SaveAttentionOpt = Annotated[
    Path | None,
    typer.Option(
        "--save-attention",
        metavar="PATH",
        help="Write it as .txt, .png, .html, .json or .npz; {stem} in PATH stands for the input's name.",
    ),
]
OutputOpt = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="Write results here, not to stdout; {stem}, {name} and {parent} in PATH make a file for each input.",
    ),
]
FormatOpt = Annotated[
    Format | None, typer.Option("--format", help="How results are printed.  [default: by the suffix of -o, else text]")
]
ReportFormatOpt = Annotated[ReportFormat, typer.Option("--format", help="How the report is printed.")]

DataDirOpt = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="The data set's folder, in its publisher's layout.  [default: as pulled]"),
]
SplitOpt = Annotated[str | None, typer.Option("--split", metavar="NAME", help="Part of the data set.  [default: its last]")]
SetOpt = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting that the data set declares; repeatable.")
]
TokenizeOpt = Annotated[
    str | None,
    typer.Option(
        "--tokenize",
        metavar="NAME",
        help="How BLEU cuts texts into words: 13a, intl, zh, char, none, ja-mecab, ko-mecab, flores200; WER: char."
        "  [default: by the language, where a data set tells it]",
    ),
]
LimitOpt = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Only the first N items.")]


def parse_weights(assignments: Iterable[str]) -> dict[str, float]:
    """``NAME=W`` strings, as ``--weight`` takes them, as a dictionary; the last of a name wins.

    Raises:
        UsageError: if one has no name, or no finite number that isn't negative.
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
