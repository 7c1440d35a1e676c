"""The common options of tasks' commands, and checks for contradictions among them.

Only light modules are imported here, since ``condgen TASK --help`` reaches this file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condgen_cli.errors import UsageError
from condgen_cli.files import check_output, refuse_input
from condgen_cli.files.sources import STDIN
from condgen_cli.options import (
    BackendOpt,
    BatchSizeOpt,
    BeamOpt,
    Device,
    DeviceOpt,
    ExplainOpt,
    ForceOpt,
    Format,
    FormatOpt,
    HeadsOpt,
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
    parse_methods,
)
from condgen_cli.running.limits import WIDEST_BEAM
from condgen_cli.tasks.outputs import fill, is_pattern

if TYPE_CHECKING:
    from condgen_cli.specs import TaskSpec

__all__ = ["DRAWING", "TaskOptions", "check_method", "check_options", "check_outputs", "complete"]

ATTENTION_SUFFIXES = (".txt", ".png", ".html", ".json", ".npz")

DRAWING = ("temperature", "top_k", "top_p")
SEARCHING = ("beam", "length_penalty")
WRITING = (*DRAWING, *SEARCHING, "sample", "nbest", "no_repeat_ngram", "max_length", "weight")


@dataclass(frozen=True)
class TaskOptions:
    """The common options of a task's command. Each field declares the name, help and default of one option.

    None means: for ``model``, the task's default; for ``backend``, what ``CONDGEN_BACKEND`` says; for ``format`` (which may be
    one of the task's own formats), by the suffix of ``output``; otherwise the model's own setting. An option without effect is
    refused, except ``seed``, which is harmless without sampling.
    """

    model: ModelOpt = None
    beam: BeamOpt = None
    nbest: NBestOpt = 1
    length_penalty: LengthPenaltyOpt = None
    no_repeat_ngram: NoRepeatNgramOpt = None
    max_length: MaxLengthOpt = None
    weight: WeightOpt = None
    sample: SampleOpt = False
    temperature: TemperatureOpt = None
    top_k: TopKOpt = None
    top_p: TopPOpt = None
    seed: SeedOpt = 0
    force: ForceOpt = None
    show_attention: ShowAttentionOpt = False
    save_attention: SaveAttentionOpt = None
    heads: HeadsOpt = None
    explain: ExplainOpt = None
    output: OutputOpt = None
    format: FormatOpt = None
    device: DeviceOpt = Device.auto
    backend: BackendOpt = None
    batch_size: BatchSizeOpt = 16

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> TaskOptions:
        """Options from arguments of the same names; the others have their defaults."""
        return cls(**{option.name: arguments[option.name] for option in fields(cls) if option.name in arguments})


def complete(spec: TaskSpec, options: TaskOptions) -> TaskOptions:
    """Fill in the task's default model, and the format by the suffix of ``-o`` unless it is given; ``-o -`` becomes stdout; and
    what is explained is printed unless it is saved."""
    output = options.output
    format: Any = options.format
    if format is None:
        suffix = output.suffix.lower() if output else ""
        known = {*spec.formats, Format.json, Format.jsonl}
        format = suffix if suffix in spec.files else suffix[1:] if suffix[1:] in known else Format.text
    model = options.model or spec.model or None
    show = options.show_attention or (options.explain is not None and options.save_attention is None)
    output = None if output == Path(STDIN) else output
    return replace(options, model=model, format=format, output=output, show_attention=show)


def check_options(spec: TaskSpec, options: TaskOptions, several: bool) -> None:
    """Refuse contradictory options before any work.

    Args:
        spec: the task's spec.
        options: complete options.
        several: whether there are several inputs.
    Raises:
        UsageError: if options contradict each other whatever the model.
    """
    _check_decoding(options)
    parse_methods(options.explain)
    if options.show_attention and options.format in spec.files:
        raise UsageError(f"{options.output} is a picture: it can't be combined with --show-attention", "-o FILE.txt")
    if options.format in spec.formats:
        _check_file_format(options, several)
    if options.save_attention is not None:
        _check_save_attention(options.save_attention, several)


def check_method(options: TaskOptions, samples: bool) -> None:
    """Refuse options that have no effect in sampling, or in search.

    Args:
        options: complete options; ``sample`` and ``beam`` decide between sampling and search.
        samples: whether the model samples if neither is given.
    Raises:
        UsageError: if there are any.
    """
    if options.sample or options.beam:
        samples = options.sample
    if options.force is not None:
        return
    if samples and (moot := _flags(options, *SEARCHING)):
        raise UsageError(f"{moot[0]} applies to search, but outputs are sampled", "--beam 5")
    if not samples and (moot := _flags(options, *DRAWING)):
        raise UsageError(f"{moot[0]} applies to sampling, but outputs are searched for", "--sample")
    if not samples and options.nbest > WIDEST_BEAM:
        raise UsageError(f"--nbest can't exceed {WIDEST_BEAM} in a search", "--sample")


def check_outputs(options: TaskOptions, files: Iterable[str]) -> None:
    """Check before any work that the outputs may be written.

    Args:
        options: complete options, of which ``output`` and ``save_attention`` are checked.
        files: input files named on the command line.
    Raises:
        UsageError: if an output is an input, a folder, or another output.
        NotFoundError: if its folder doesn't exist.
    """
    if options.output is not None and options.output == options.save_attention:
        raise UsageError(f"-o and --save-attention are both {options.output}", "give them different names")
    for path in (options.output, options.save_attention):
        if path is None:
            continue
        if not is_pattern(path.parent):
            check_output(path)
        for file in files:
            refuse_input(fill(path, file))


def _flags(options: TaskOptions, *names: str) -> list[str]:
    """The given options that differ from their defaults, as flags of the command line."""
    defaults = TaskOptions()
    given = [name for name in names if getattr(options, name) != getattr(defaults, name)]
    return ["--" + name.replace("_", "-") for name in given]


def _check_decoding(options: TaskOptions) -> None:
    if options.force is not None and (moot := _flags(options, *WRITING)):
        raise UsageError(f"--force sets the output: it can't be combined with {', '.join(moot)}")
    if options.sample and options.beam:
        raise UsageError("--sample and --beam can't be combined: outputs are either sampled or searched for")
    if options.beam and options.nbest > options.beam:
        raise UsageError(f"--nbest {options.nbest} exceeds the beam of {options.beam}", f"--beam {options.nbest}")
    if options.sample or options.beam:
        check_method(options, samples=options.sample)


def _check_file_format(options: TaskOptions, several: bool) -> None:
    name = options.format
    if options.nbest > 1 or options.show_attention:
        raise UsageError(f"--format {name} holds one output and no attention: drop --nbest and --show-attention")
    output = options.output
    if several and (output is None or not is_pattern(output)):
        path = output.with_stem(output.stem + "-{stem}") if output else f"{{stem}}.{name}"
        raise UsageError(f"with --format {name}, several inputs need one file each", f"-o {path}")


def _check_save_attention(path: Path, several: bool) -> None:
    if path.suffix not in ATTENTION_SUFFIXES:
        raise UsageError(f"--save-attention {path} must end in {', '.join(ATTENTION_SUFFIXES)}")
    if several and not is_pattern(path):
        raise UsageError(
            "several inputs would overwrite one --save-attention file",
            f"--save-attention {path.with_stem(path.stem + '-{stem}')}",
        )
