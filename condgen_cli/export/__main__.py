"""Make the graphs of the models of a zoo again: ``python -m condgen_cli.export --zoo zoo/ [NAME …]``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from condgen_cli.errors import CondgenError
from condgen_cli.export.models import compared_graphs, dev_items, has_graphs
from condgen_cli.files.inputs import forget_inputs
from condgen_cli.running.bundle import Bundle
from condgen_cli.terminal import console
from condgen_cli.zoo.manifest import Entry
from condgen_cli.zoo.publish import read_manifest, read_recipe, set_graphs


def _command(
    zoo: Annotated[Path, typer.Option("--zoo", metavar="DIR", help="The zoo's folder.")],
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Models; without any, all.")] = None,
) -> None:
    """Make the graphs of the models of a zoo again, compare them with the models, and write them into the zoo."""
    failed = False
    for entry in read_manifest(zoo).entries:
        if names and entry.id not in names:
            continue
        forget_inputs()  # graphs that are there may be replaced
        try:
            bundle = _bundle(zoo, entry)
            if not has_graphs(bundle):
                continue
            recipe = read_recipe(zoo, entry)
            graphs, difference = compared_graphs(bundle, dev_items(recipe.stages[-1] if recipe else None))
            set_graphs(zoo, entry.id, graphs)
        except CondgenError as error:
            console.fail(error)
            failed = True
        else:
            print(f"{entry.id}: {sum(map(len, graphs.values()))} bytes; {difference}", flush=True)
    sys.exit(CondgenError.exit_code if failed else 0)


def _bundle(zoo: Path, entry: Entry) -> Bundle:
    files = {file.path: zoo / file.urls[0] for file in entry.files}
    architecture = entry.architecture
    return Bundle(entry.id, entry.task, architecture.name, architecture.config, entry.decoding, files, entry)


if __name__ == "__main__":
    typer.run(_command)
