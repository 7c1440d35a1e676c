"""``condgen inspect``: a model's architecture, the tensors of a weight file, or a model's attention for an input."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from condgen_cli.errors import PartialFailure, UsageError
from condgen_cli.options import (
    Device,
    DeviceOpt,
    ExplainOpt,
    ForceOpt,
    ReportFormat,
    ReportFormatOpt,
    SaveAttentionOpt,
    parse_methods,
)
from condgen_cli.specs import InspectorSpec, look_up, resolve
from condgen_cli.tasks.signatures import parameters_of, with_parameters
from condgen_cli.terminal import console
from condgen_cli.terminal.printable import printable

if TYPE_CHECKING:
    from condgen_cli.registry.plugins import Plugins
    from condgen_cli.running.request import Request
    from condgen_cli.running.runner import Result, Runner

__all__ = ["inspect", "make"]

TREE_DEPTH = 3
"""Levels of submodules in the text report; JSON has all."""

TargetArg = Annotated[str, typer.Argument(metavar="MODEL|RUN|FILE", help="A model, a training run, or a .safetensors file.")]
ContrastOpt = Annotated[
    str | None,
    typer.Option(
        "--contrast", metavar="TEXT", help="Show what speaks for the output against the output TEXT, and the reverse."
    ),
]
InputsArg = Annotated[
    list[str] | None, typer.Argument(metavar="INPUT", help="Inputs of the model's task, to show its attention for.")
]


def make(plugins: Plugins) -> Callable[..., None]:
    """The command with a flag for each inspector."""

    def command(**arguments: Any) -> None:
        inspectors = [spec for name, spec in plugins.inspectors.items() if arguments.pop(_argument(name))]
        inspect(**arguments, inspectors=inspectors)

    own = [one for one in parameters_of(inspect) if one.name != "inspectors"]
    flags = [
        Parameter(
            _argument(name),
            Parameter.KEYWORD_ONLY,
            default=False,
            annotation=Annotated[bool, typer.Option(f"--{name}", help=spec.help)],
        )
        for name, spec in plugins.inspectors.items()
    ]
    return with_parameters(command, [*own, *flags], inspect.__doc__)


def _argument(flag: str) -> str:
    return flag.replace("-", "_")


def inspect(
    target: TargetArg,
    inputs: InputsArg = None,
    explain: ExplainOpt = None,
    force: ForceOpt = None,
    contrast: ContrastOpt = None,
    save_attention: SaveAttentionOpt = None,
    device: DeviceOpt = Device.cpu,
    format: ReportFormatOpt = ReportFormat.text,
    inspectors: Sequence[InspectorSpec] = (),
) -> None:
    """Inspect a model: its modules, costs and results; with inputs, its attention at each step; or an analysis chosen by a
    flag."""
    of_input = {"--explain": explain, "--force": force, "--contrast": contrast}
    given = [name for name, value in of_input.items() if value is not None]
    if given and (inspectors or not inputs):
        raise UsageError(f"{given[0]} needs an input of the model's task", "condgen inspect MODEL INPUT")
    methods = parse_methods(explain)
    if contrast is not None and "attention" in methods:
        raise UsageError("attention speaks for no output against another", "--explain occlusion")
    if inspectors:
        _inspect_with(inspectors, target, inputs or [], save_attention, device, format)
        return
    if save_attention is not None and len(inputs or ()) != 1:
        raise UsageError("--save-attention needs one input, or the flag of an analysis", "condgen inspect --help")
    if target.endswith(".safetensors"):
        _inspect_weights(Path(target), inputs or [], format)
        return
    from condgen_cli.running.runner import load

    if inputs:
        from condgen_cli.running.request import Request

        methods = methods or (("occlusion",) if contrast is not None else ())
        request = Request(force=force, explain=methods, contrast=contrast)
        _inspect_inputs(load(target, device), inputs, request, save_attention, format)
    else:
        from condgen_cli.running.inspection import model_report

        report = model_report(load(target, "cpu"))
        _print(report if format is ReportFormat.json else _model_text(report))


def _inspect_with(
    inspectors: Sequence[InspectorSpec],
    target: str,
    inputs: Sequence[str],
    path: Path | None,
    device: Device,
    format: ReportFormat,
) -> None:
    """Run an inspector and print its attention maps."""
    if inputs or len(inspectors) > 1:
        raise UsageError("give one analysis at a time, and no inputs with it")
    (spec,) = inspectors
    from condgen_cli.render import save_attention
    from condgen_cli.render.files import as_json
    from condgen_cli.running.runner import load

    runner: Runner = load(target, device)
    if runner.bundle.architecture != spec.architecture:
        raise UsageError(f"--{spec.name} applies to models of the architecture {spec.architecture}, not to {target}")
    found = resolve(spec.run)(runner)
    title = f"{runner.name} · {spec.name}"
    if path is not None:
        save_attention(path, found, title)
    _print(as_json(found, title) if format is ReportFormat.json else _attention_text(found))


def _attention_text(found: Any) -> str:
    from condgen_cli.render import attention_text

    drawn = attention_text(found, width=console.width(), color=console.use_color(), encoding=console.encoding())
    return f"{printable(str(found.output), lines=True)}\n\n{drawn}"


def _inspect_weights(path: Path, inputs: Sequence[str], format: ReportFormat) -> None:
    if inputs:
        raise UsageError("weights alone can't read an input", "name a model or a training run instead")
    from condgen_cli.running.inspection import weights_report

    report = weights_report(path)
    _print(report if format is ReportFormat.json else _weights_text(report))


def _inspect_inputs(runner: Any, inputs: Sequence[str], request: Request, path: Path | None, format: ReportFormat) -> None:
    from condgen_cli.render import save_attention
    from condgen_cli.running.inspection import read_arguments, result_report

    reports: list[dict[str, Any]] = []
    failed: list[Result] = []
    count = 0
    for result in runner.stream(read_arguments(runner.task, inputs), request):
        count += 1
        if result.error:
            failed.append(result)
        elif path is not None:
            save_attention(path, result.generations[0], f"{runner.name} · {result.input}")
        if format is ReportFormat.json:
            reports.append(result_report(result))
        elif not result.error:
            _print(("\n\n" if count > 1 else "") + _result_text(result, runner.task))
    if count == 1 and failed and failed[0].error:
        raise failed[0].error
    if format is ReportFormat.json:
        _print(reports)
    for result in failed:
        console.warn(_failure(result))
    if failed:
        raise PartialFailure(f"{len(failed)} of {count} inputs failed")


def _failure(result: Result) -> str:
    message = result.error.message if result.error else ""
    return message if result.source in message else f"{result.source}: {message}"


def _result_text(result: Result, task: str) -> str:
    from condgen_cli.registry.plugins import manager
    from condgen_cli.render import attention_text, entropy_table

    best = result.generations[0]
    width, color = console.width(), console.use_color()
    heading = f"{printable(result.input)}\n{printable(str(best.output), lines=True)}  (score {best.score:.2f})"
    encoding = console.encoding()
    maps = attention_text(best, width=width, color=color, encoding=encoding)
    if not best.attention:
        reference = look_up(manager().tasks, "task", task).steps
        steps = resolve(reference)(best, width, color, encoding) if reference else ""
        return f"{heading}\n\n{steps or maps}"
    return f"{heading}\n\n{maps}\n\n{entropy_table(best, width=width, color=color, encoding=encoding)}"


def _model_text(report: Mapping[str, Any]) -> str:
    sections = [
        _card(report),
        _tree(report["parts"]),
        _flow(report),
        _vocabulary(report["vocabulary"]),
        _decoding(report["decoding"]),
        _results(report),
    ]
    return "\n\n".join(section for section in sections if section)


def _card(report: Mapping[str, Any]) -> str:
    card = report["card"] or {}
    facts = {
        "task": report["task"],
        "architecture": report["architecture"]["name"],
        "config": _pairs(report["architecture"]["config"]),
        "licence": card.get("licence"),
        "revision": card.get("revision"),
        "trained on": ", ".join(f"{data['name']} ({data['licence']})" for data in card.get("data", ())),
        "training": _pairs(card.get("training", {})),
    }
    title = f"{report['model']}: {card['description']}" if card.get("description") else report["model"]
    return "\n".join([printable(title), *(printable(f"  {key:<13} {value}") for key, value in facts.items() if value)])


def _tree(parts: Sequence[Mapping[str, Any]]) -> str:
    """A table of modules: indented names, classes, output shapes for a batch of one, numbers of parameters."""
    rows = [("part", "class", "output", "parameters")]
    for part in parts:
        depth = part["name"].count(".") + 1 if part["name"] else 0
        if depth <= TREE_DEPTH:
            name = "  " * depth + printable(part["name"].rpartition(".")[2]) if part["name"] else "model"
            shapes = ", ".join(map(_shape, part["output"]))
            rows.append((name, part["type"], shapes, f"{part['parameters']:,}" if part["parameters"] else ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, kind, shapes, count in rows:
        cells = (name.ljust(widths[0]), kind.ljust(widths[1]), shapes.ljust(widths[2]), count.rjust(widths[3]))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _flow(report: Mapping[str, Any]) -> str:
    if report["flops"] is None:
        return "shapes and costs: unknown, since the model has no example()"
    lines = []
    if report["memory"]:
        sizes = report["positions"]
        positions = f"; positions: {_shape(sizes.values())} ({', '.join(sizes)})" if sizes else ""
        lines.append(f"memory      {_named_shapes(report['memory'])}{positions}")
        lines.append(f"each step   {_named_shapes(report['step'])}")
    encode, step = report["flops"]["encode"], report["flops"]["step"]
    lines.append(f"cost        {_flops(encode)} for an input" + (f", {_flops(step)} for a step" if step is not None else ""))
    lines.append("            (convolutions and matrix products; a multiplication and an addition are two)")
    return "\n".join(lines)


def _vocabulary(vocabulary: Mapping[str, Any] | None) -> str:
    if vocabulary is None:
        return ""
    first, last = (printable(" ".join(map(str, vocabulary[end]))) for end in ("first", "last"))
    text = f"vocabulary  {vocabulary['size']:,} tokens: {first}{f' … {last}' if last else ''}"
    return textwrap.fill(text, console.width(), subsequent_indent=" " * 12, break_on_hyphens=False)


def _decoding(decoding: Mapping[str, Any]) -> str:
    return f"decoding    {_pairs(decoding)}"


def _results(report: Mapping[str, Any]) -> str:
    from condgen_cli.render.tables import Cell, table

    card = report["card"] or {}
    columns = ["system", "data set", "split", "metric", "value", "95 % interval", "items", "note"]
    rows: list[list[Cell]] = []
    for result in card.get("results", ()):
        low_high = result["interval"]
        interval = f"{low_high[0]:g} to {low_high[1]:g}" if low_high else None
        rows.append([report["model"], *_score(result), interval, result["n"], None])
    references = card.get("references", ())
    rows += [[reference["system"], *_score(reference), None, None, reference["note"]] for reference in references]
    return table(columns, rows, color=console.use_color(), width=console.width()) if rows else ""


def _score(result: Mapping[str, Any]) -> list[Any]:
    return [result["dataset"], result["split"], result["metric"], result["value"]]


def _weights_text(report: Mapping[str, Any]) -> str:
    from condgen_cli.files.fetch import human_size
    from condgen_cli.render.tables import table

    tensors = report["tensors"]
    count = f"{len(tensors)} tensors, {report['parameters']:,} numbers"
    lines = [printable(f"{report['file']}: {human_size(report['bytes'])}, {count}")]
    lines += [printable(f"  {key}: {value}") for key, value in report["metadata"].items()]
    rows = [[tensor["name"], tensor["dtype"], _shape(tensor["shape"]), f"{tensor['bytes']:,}"] for tensor in tensors]
    columns = ["tensor", "type", "shape", "bytes"]
    return "\n".join([*lines, "", table(columns, rows, color=console.use_color(), width=console.width())])


def _named_shapes(shapes: Mapping[str, Sequence[int]]) -> str:
    return ", ".join(f"{name} {_shape(shape)}" for name, shape in shapes.items())


def _shape(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape)) or "scalar"


def _flops(count: int) -> str:
    scaled = float(count)
    for unit in ("", "k", "M", "G"):
        if scaled < 1000:
            return f"{scaled:.3g} {unit}FLOPs"
        scaled /= 1000
    return f"{scaled:.3g} TFLOPs"


def _pairs(mapping: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in mapping.items() if value not in (None, ""))


def _print(report: object) -> None:
    print(report if isinstance(report, str) else json.dumps(report, ensure_ascii=False, indent=2))
