"""``condgen data``: list, download and show data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from condgen_cli.options import DataDirOpt, ReportFormat, ReportFormatOpt, SetOpt
from condgen_cli.specs import DatasetSpec
from condgen_cli.terminal import console
from condgen_cli.terminal.printable import printable

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)

NameArg = Annotated[str, typer.Argument(metavar="NAME", help="A data set; see condgen data ls.")]


@app.command("ls")
def ls(data_dir: DataDirOpt = None, format: ReportFormatOpt = ReportFormat.text) -> None:
    """List the data sets, and where they are on this machine."""
    from condgen_cli.data.store import present_root
    from condgen_cli.registry.plugins import manager

    specs = sorted(manager().datasets.values(), key=lambda spec: spec.name)
    found = {spec.name: present_root(spec, data_dir) for spec in specs}
    if format is ReportFormat.json:
        _print_json({"datasets": [{**_summary(spec), "folder": _text_or_none(found[spec.name])} for spec in specs]})
        return
    rows = [[spec.name, spec.task, ", ".join(spec.splits), _place(spec, found[spec.name]), spec.help] for spec in specs]
    _print_table(["data set", "task", "splits", "here", "what"], rows)


@app.command("pull")
def pull(name: NameArg, settings: SetOpt = None) -> None:
    """Download a data set from its publisher into the store, verified; an interrupted download resumes where it stopped."""
    from condgen_cli.data.store import dataset_spec, parse_options, pull_dataset

    spec = dataset_spec(name)
    console.info(f"{spec.name}: {spec.licence}" + (f" ({spec.homepage})" if spec.homepage else ""))
    for path in pull_dataset(spec, parse_options(settings or ())):
        print(path)


@app.command("show")
def show(
    name: NameArg, data_dir: DataDirOpt = None, settings: SetOpt = None, format: ReportFormatOpt = ReportFormat.text
) -> None:
    """Show licence, homepage, splits, options and files of a data set; if it is on this machine, also its size and an item."""
    from condgen_cli.data.store import check_options, dataset_spec, find_dataset_root, parse_options, present_root

    spec = dataset_spec(name)
    options = check_options(spec, parse_options(settings or ()))
    folder = find_dataset_root(spec, data_dir) if data_dir else present_root(spec)
    content = _content(spec, folder, options) if folder else {"counts": {}, "sample": None, "problems": {}}
    if format is ReportFormat.json:
        _print_json({**_summary(spec), "folder": _text_or_none(folder), **content})
        return
    print("\n".join(map(printable, _details(spec, folder, content))))


def _summary(spec: DatasetSpec) -> dict[str, Any]:
    options = {name: option._asdict() for name, option in spec.options.items()}
    archives = [archive._asdict() for archive in spec.archives]
    facts = {"name": spec.name, "task": spec.task, "help": spec.help, "splits": spec.splits}
    return {**facts, "options": options, "licence": spec.licence, "homepage": spec.homepage, "archives": archives}


def _content(spec: DatasetSpec, folder: Path, options: dict[str, str]) -> dict[str, Any]:
    """Sizes of splits (where known without reading them), the first item of the last readable split, and the errors of
    unreadable ones."""
    from collections.abc import Sized

    from condgen_cli.data.store import open_dataset
    from condgen_cli.errors import CondgenError

    counts: dict[str, int] = {}
    problems: dict[str, str] = {}
    sample = None
    for split in spec.splits:
        try:
            items = open_dataset(spec.name, split, folder, options)
            first = next(iter(items), None)
        except CondgenError as error:
            problems[split] = error.message
            continue
        if isinstance(items, Sized):
            counts[split] = len(items)
        sample = _item(first, split) if first else sample
    return {"counts": counts, "sample": sample, "problems": problems}


def _item(item: Any, split: str) -> dict[str, Any]:
    condition = item.condition if isinstance(item.condition, str) else str(item.source)
    return {"split": split, "id": item.id, "condition": condition, "references": item.references, "group": item.group}


def _details(spec: DatasetSpec, folder: Path | None, content: dict[str, Any]) -> list[str]:
    counts = content["counts"]
    splits = ", ".join(f"{split} ({counts[split]:,} items)" if split in counts else split for split in spec.splits)
    facts = {
        "task": spec.task,
        "licence": spec.licence,
        "homepage": spec.homepage,
        "splits": splits,
        "here": _place(spec, folder),
    }
    lines = [f"{spec.name}: {spec.help}", ""]
    lines += [f"{key:<9} {value}" for key, value in facts.items() if value]
    lines += [f"{'problem':<9} {split}: {problem}" for split, problem in content["problems"].items()]
    lines += _options(spec) + _files(spec) + _sample(content["sample"])
    return lines


def _options(spec: DatasetSpec) -> list[str]:
    lines = ["", "options (--set NAME=VALUE)"] if spec.options else []
    for name, option in spec.options.items():
        choices = f" [{', '.join(option.choices)}]" if option.choices else ""
        default = f" (default {option.default})" if option.default else ""
        lines.append(f"  {name}: {option.help}{choices}{default}")
    return lines


def _files(spec: DatasetSpec) -> list[str]:
    choice = " --set subset=NAME" if any(archive.sets for archive in spec.archives) else ""
    lines = ["", f"files (condgen data pull {spec.name}{choice})"] if spec.archives else []
    for archive in spec.archives:
        size = f", {archive.size:,} bytes" if archive.size else ""
        subset = f", subset {' and '.join(archive.sets)}" if archive.sets else ""
        lines.append(f"  {archive.path}{size}{subset} from {' or '.join(archive.urls)}")
    return lines


def _sample(sample: dict[str, Any] | None) -> list[str]:
    if sample is None:
        return []
    references = [f"  {reference}" for reference in sample["references"]]
    return ["", f"an item of {sample['split']}: {sample['id']}", f"  {sample['condition']}", *references]


def _place(spec: DatasetSpec, folder: Path | None) -> str:
    if spec.generated:
        return "generated"
    if folder:
        return str(folder)
    return "no" if spec.archives else "your own: --data-dir"


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)


def _print_json(document: object) -> None:
    print(json.dumps(document, ensure_ascii=False, indent=2))


def _print_table(columns: list[str], rows: list[list[Any]]) -> None:
    from condgen_cli.render.tables import table

    print(table(columns, rows, color=console.use_color(), width=console.width()))
