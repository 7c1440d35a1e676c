"""``condgen export``: a model as plain ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from condgen_cli.errors import UsageError
from condgen_cli.terminal.printable import printable

__all__ = ["export"]

ModelArg = Annotated[str, typer.Argument(metavar="MODEL|RUN", help="A model of the zoo, or a training run's folder.")]
FolderOpt = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write, which must be new.")]


def export(model: ModelArg, output: FolderOpt) -> None:
    """Write a model as plain ONNX, weights included, for use anywhere; example.py in it needs onnxruntime and numpy only."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} is there already", "name a new folder")
    from condgen_cli.export.plain import write_plain
    from condgen_cli.running.bundle import find_bundle

    for path in write_plain(find_bundle(model), output):
        print(printable(str(path)))
