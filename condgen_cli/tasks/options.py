"""The options that the commands of tasks share, and which of them contradict one another.

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
    """The common options of a task's command. Each field declares one: its name, its help, its default.

    None leaves the choice to the model's own settings; of ``model``, to the task; of ``format``, which may be one of the task's
    own formats, to the suffix of ``output``. An option that has no effect beside the others is refused, but for ``seed``: it
    names a run, also one that draws nothing.
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
    output: OutputOpt = None
    format: FormatOpt = None
    device: DeviceOpt = Device.auto
    batch_size: BatchSizeOpt = 16

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> TaskOptions:
        """The options among arguments that bear their names; the others have their defaults."""
        return cls(**{option.name: arguments[option.name] for option in fields(cls) if option.name in arguments})


def complete(spec: TaskSpec, options: TaskOptions) -> TaskOptions:
    """The options with the task's model where none is named, and with a format, which the suffix of ``-o`` decides if nothing
    else does; ``-o -`` is stdout."""
    output = options.output
    format: Any = options.format
    if format is None:
        suffix = output.suffix.lower() if output else ""
        known = {*spec.formats, Format.json, Format.jsonl}
        format = suffix if suffix in spec.files else suffix[1:] if suffix[1:] in known else Format.text
    model = options.model or spec.model or None
    return replace(options, model=model, format=format, output=None if output == Path(STDIN) else output)


def check_options(spec: TaskSpec, options: TaskOptions, several: bool) -> None:
    """Find contradictions among options before any work.

    Args:
        spec: the task's.
        options: complete.
        several: whether there are several inputs.
    Raises:
        UsageError: if some contradict one another with any model.
    """
    _check_decoding(options)
    if options.show_attention and options.format in spec.files:
        raise UsageError(f"{options.output} is a picture: it goes without --show-attention", "-o FILE.txt")
    if options.format in spec.formats:
        _check_file_format(options, several)
    if options.save_attention is not None:
        _check_save_attention(options.save_attention, several)


def check_method(options: TaskOptions, samples: bool) -> None:
    """Find options that do nothing where outputs are drawn, or where the likeliest are searched for.

    Args:
        options: ``sample`` and ``beam`` decide between the two.
        samples: whether the model draws its outputs where neither is given.
    Raises:
        UsageError: if there are some.
    """
    if options.sample or options.beam:
        samples = options.sample
    if options.force is not None:
        return
    if samples and (moot := _flags(options, *SEARCHING)):
        raise UsageError(f"{moot[0]} is for a search, and outputs are drawn", "--beam 5")
    if not samples and (moot := _flags(options, *DRAWING)):
        raise UsageError(f"{moot[0]} is for drawing outputs, and the likeliest are searched for", "--sample")
    if not samples and options.nbest > WIDEST_BEAM:
        raise UsageError(f"--nbest can't exceed {WIDEST_BEAM} in a search", "--sample")


def check_outputs(options: TaskOptions, files: Iterable[str]) -> None:
    """Find out before any work whether the outputs may be written where they are to go.

    Args:
        options: ``output`` and ``save_attention`` are looked at.
        files: the inputs that the command line names.
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
    """Those of some options that differ from their defaults, as they are written on the command line."""
    defaults = TaskOptions()
    given = [name for name in names if getattr(options, name) != getattr(defaults, name)]
    return ["--" + name.replace("_", "-") for name in given]


def _check_decoding(options: TaskOptions) -> None:
    if options.force is not None and (moot := _flags(options, *WRITING)):
        raise UsageError(f"--force gives the output: it goes without {', '.join(moot)}")
    if options.sample and options.beam:
        raise UsageError("--sample draws outputs and --beam searches for them: give one of the two")
    if options.beam and options.nbest > options.beam:
        raise UsageError(f"a beam of {options.beam} holds no {options.nbest} outputs", f"--beam {options.nbest}")
    if options.sample or options.beam:
        check_method(options, samples=options.sample)


def _check_file_format(options: TaskOptions, several: bool) -> None:
    name = options.format
    if options.nbest > 1 or options.show_attention:
        raise UsageError(f"--format {name} holds one output and no attention: it goes without --nbest and --show-attention")
    output = options.output
    if several and (output is None or not is_pattern(output)):
        path = output.with_stem(output.stem + "-{stem}") if output else f"{{stem}}.{name}"
        raise UsageError(f"with --format {name} several inputs need a file each", f"-o {path}")


def _check_save_attention(path: Path, several: bool) -> None:
    if path.suffix not in ATTENTION_SUFFIXES:
        raise UsageError(f"--save-attention {path} must end in {', '.join(ATTENTION_SUFFIXES)}")
    if several and not is_pattern(path):
        raise UsageError(
            "several inputs would overwrite one --save-attention file",
            f"--save-attention {path.with_stem(path.stem + '-{stem}')}",
        )
