"""``condgen list | show | pull | verify | rm``: the models of the zoo, and their files on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from condgen_cli.errors import CondgenError, IntegrityError, PartialFailure
from condgen_cli.options import ReportFormat, ReportFormatOpt
from condgen_cli.terminal import console
from condgen_cli.terminal.printable import escape_controls, printable

if TYPE_CHECKING:
    from condgen_cli.zoo import Check, Entry, Zoo

__all__ = ["list_models", "pull", "rm", "show", "verify"]

ModelArg = Annotated[str, typer.Argument(metavar="MODEL", help="A model of the zoo; see condgen list.")]
ModelsArg = Annotated[list[str], typer.Argument(metavar="MODEL…", help="Models of the zoo; see condgen list.")]
AnyModelsArg = Annotated[list[str] | None, typer.Argument(metavar="[MODEL…]", help="Models of the zoo.  [default: all]")]

RecipeOpt = Annotated[bool, typer.Option("--recipe", help="Print the recipe that the model was trained with.")]


def list_models(format: ReportFormatOpt = ReportFormat.text) -> None:
    """List the models of the zoo, with the state of their files and the zoo they come from."""
    from condgen_cli.files.fetch import human_size
    from condgen_cli.zoo import open_zoo

    zoo = open_zoo()
    if format is ReportFormat.json:
        _print_json({"models": [_summary(zoo, entry) for entry in zoo.entries()]})
        return
    rows = [
        [
            entry.id,
            ", ".join(entry.aliases),
            entry.task,
            human_size(entry.size),
            zoo.state(entry),
            "condgen" if zoo.source(entry).origin == "bundled" else zoo.source(entry).name,
            entry.description,
        ]
        for entry in zoo.entries()
    ]
    _print_table(["model", "also", "task", "size", "where", "from", "what"], rows)


def show(model: ModelArg, recipe: RecipeOpt = False, format: ReportFormatOpt = ReportFormat.text) -> None:
    """Show a model's card: licence, files, training, and its results beside published ones."""
    from condgen_cli.zoo import open_zoo

    zoo = open_zoo()
    entry = zoo.entry(model)
    if recipe:
        training = zoo.recipe(entry)
        text = training.to_json() if format is ReportFormat.json else training.to_toml()
        print(escape_controls(text.rstrip(), colors=False))  # JSON escapes are valid in TOML, too
        return
    card = _card(zoo, entry)
    if format is ReportFormat.json:
        document = entry.model_dump(mode="json")
        _print_json({**document, "state": zoo.state(entry), "source": zoo.source(entry).name, "card": card})
        return
    print("\n".join(_facts(zoo, entry)))
    _print_section("files", ["file", "size", "sha256"], _file_rows(entry))
    _print_section("results", ["system", "data", "metric", "value", "95 %", "n"], _result_rows(entry))
    if entry.example:
        print(f"\n$ {printable(entry.example.command)}\n{printable(entry.example.expected, lines=True)}".rstrip())
    if card:
        print()
        _print_markdown(card)


def pull(models: ModelsArg, format: ReportFormatOpt = ReportFormat.text) -> None:
    """Download models and verify them; an interrupted download resumes where it stopped."""
    from condgen_cli.zoo import open_zoo

    zoo = open_zoo()

    def pull_one(entry: Entry) -> dict[str, Any]:
        files = zoo.pull(entry)
        return {"state": zoo.state(entry), "files": {name: str(path) for name, path in files.items()}}

    _for_each(zoo, models, pull_one, format, find=lambda name: zoo.obtain(name, again=True))


def rm(models: ModelsArg, format: ReportFormatOpt = ReportFormat.text) -> None:
    """Remove downloaded models; files that another downloaded model uses stay."""
    from condgen_cli.zoo import open_zoo

    zoo = open_zoo()

    def remove_one(entry: Entry) -> dict[str, Any]:
        freed = zoo.remove(entry)
        if not freed and zoo.state(entry) in ("bundled", "local"):
            console.info(f"the files of {entry.id} are beside its manifest, not in the store: nothing was removed")
        return {"state": zoo.state(entry), "freed": freed}

    _for_each(zoo, models, remove_one, format)


def verify(models: AnyModelsArg = None, format: ReportFormatOpt = ReportFormat.text) -> None:
    """Check size, hash and header of every model file on this machine."""
    from condgen_cli.zoo import open_zoo

    zoo = open_zoo()
    entries = [zoo.entry(name) for name in models] if models else zoo.entries()
    checks = [check for entry in entries for check in zoo.verify(entry)]
    if format is ReportFormat.json:
        _print_json({"files": [_check_document(check) for check in checks]})
    else:
        rows = [[check.entry.id, check.file.path, check.problem or "ok"] for check in checks]
        _print_table(["model", "file", "state"], rows)
    damaged = [check for check in checks if check.problem]
    if damaged:
        first = damaged[0]
        count = f" ({len(damaged)} files in all)" if len(damaged) > 1 else ""
        error = IntegrityError(f"{first.path} is damaged: {first.problem}{count}", f"condgen pull {first.entry.id}")
        console.fail(error)
        raise typer.Exit(error.exit_code)  # the report is printed; with --format json nothing may follow it on stdout


def _for_each(
    zoo: Zoo,
    names: Sequence[str],
    action: Callable[[Entry], dict[str, Any]],
    format: ReportFormat,
    find: Callable[[str], Entry] | None = None,
) -> None:
    """Apply an action to each model, even if others fail, and print a line for each.

    Args:
        find: the entry of a name; None: ``zoo.entry``.
    Raises:
        CondgenError: the error, if there is only one model.
        PartialFailure: if some models failed.
    """
    documents, failed = [], 0
    for name in names:
        try:
            entry = (find or zoo.entry)(name)
            documents.append({"model": entry.id, **action(entry), "error": None})
        except CondgenError as error:
            if len(names) == 1:
                raise
            console.fail(error)
            failed += 1
            documents.append({"model": name, "error": error.as_json()})
        if format is ReportFormat.text and documents[-1]["error"] is None:
            print(_line(documents[-1]))
    if format is ReportFormat.json:
        _print_json({"models": documents})
    if failed:
        raise PartialFailure(f"{failed} of {len(names)} models failed")


def _line(document: dict[str, Any]) -> str:
    from condgen_cli.files.fetch import human_size

    if "freed" in document:
        return f"{document['model']}: {human_size(document['freed'])} freed"
    return f"{document['model']}: {document['state']}, verified"


def _summary(zoo: Zoo, entry: Entry) -> dict[str, Any]:
    fields = {"id", "aliases", "task", "description", "licence", "revision", "results"}
    return {
        **entry.model_dump(mode="json", include=fields),
        "size": entry.size,
        "state": zoo.state(entry),
        "source": zoo.source(entry).name,
    }


def _card(zoo: Zoo, entry: Entry) -> str:
    try:
        return zoo.card(entry)
    except CondgenError as error:
        console.warn(error.message)  # the rest of the entry can be shown without it
        return ""


def _facts(zoo: Zoo, entry: Entry) -> list[str]:
    from condgen_cli.files.fetch import human_size

    training = entry.training
    hours = "" if training.hours is None else f"{training.hours:g} hours"
    seed = "" if training.seed is None else f"seed {training.seed}"
    facts = {
        "also": ", ".join(entry.aliases),
        "task": entry.task,
        "architecture": entry.architecture.name,
        "revision": entry.revision,
        "licence": entry.licence,
        "data": "; ".join(" ".join(filter(None, [f"{data.name} ({data.licence})", data.url])) for data in entry.data),
        "training": ", ".join(filter(None, [training.recipe, seed, training.hardware, hours])),
        "needs": " ".join(filter(None, [entry.requires.plugin, f"condgen>={entry.requires.condgen}"])),
        "size": human_size(entry.size),
        "where": f"{zoo.state(entry)} ({zoo.source(entry).name})",
    }
    lines = [f"{entry.id}: {entry.description}", "", *(f"{key:<12} {value}" for key, value in facts.items() if value)]
    return [printable(line) for line in lines]


def _file_rows(entry: Entry) -> list[list[Any]]:
    from condgen_cli.files.fetch import human_size

    return [[file.path, human_size(file.size), file.sha256[:16]] for file in entry.files]


def _result_rows(entry: Entry) -> list[list[Any]]:
    """The model's results, then published ones."""
    ours = [
        [entry.id, f"{row.dataset} {row.split}", row.metric, row.value, _interval(row.interval), row.n] for row in entry.results
    ]
    theirs = [
        [row.system, " ".join([row.dataset, row.split, *_assignments(row.options)]), row.metric, row.value, note, None]
        for row in entry.references
        for note in [row.note or row.source]
    ]
    return ours + theirs


def _assignments(options: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in options.items()]


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}"


def _check_document(check: Check) -> dict[str, Any]:
    return {"model": check.entry.id, "file": check.file.path, "path": str(check.path), "problem": check.problem or None}


def _print_section(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    if rows:
        print(f"\n{title}")
        _print_table(columns, rows)


def _print_markdown(text: str) -> None:
    if not console.use_color():
        print(printable(text, lines=True).rstrip())
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console(width=min(console.width(), 100)).print(Markdown(text, hyperlinks=False))


def _print_table(columns: list[str], rows: list[list[Any]]) -> None:
    from condgen_cli.render.tables import table

    print(table(columns, rows, color=console.use_color(), width=console.width()))


def _print_json(document: object) -> None:
    print(json.dumps(document, ensure_ascii=False, indent=2))
