"""Anyone's own recordings: a folder with transcripts in a file of columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from condgen_cli.data.packed import read_lines
from condgen_cli.data.splits import split_file
from condgen_cli.errors import InputError, NotFoundError
from condgen_cli.item import Item

__all__ = ["audio_folder"]


def audio_folder(root: Path, split: str, tsv: str = "{split}.tsv") -> Sequence[Item]:
    """Anyone's own recordings: a folder, and a file with a path, a tab and a transcript in each line.

    A first line ``file TAB transcript`` is taken as a heading, empty lines are skipped. UTF-8. Blanks around a transcript go;
    nothing else of it is changed.

    Args:
        root: the folder, which the paths are relative to.
        split: stands for ``{split}`` in the file's name. A file without it is all of the split ``test``.
        tsv: the file, relative to the folder.
    Returns:
        Items in the file's order, ids being the paths. A recording that is missing is told when it is read.
    Raises:
        UsageError: if the file isn't of the split.
        NotFoundError: if the file is missing.
        InputError: if a line isn't UTF-8, hasn't two columns, has an empty one or repeats a path; the message begins with its
            file and number.
    """
    path = split_file(root, tsv, split)
    if not path.is_file():
        raise NotFoundError(f"no file {path}", "a line of it: path of a recording TAB its transcript")
    transcripts: dict[str, str] = {}
    for place, name, transcript in _columns(path):
        if name in transcripts:
            raise InputError(f"{place}: {name} stands in an earlier line too")
        transcripts[name] = transcript
    return [Item(name, root / name, (text,), source=str(root / name)) for name, text in transcripts.items()]


def _columns(path: Path) -> Iterator[tuple[str, str, str]]:
    """Place, path and transcript of each line."""
    for number, line in enumerate(read_lines(path), 1):
        place = f"{path}:{number}"
        fields = [field.strip() for field in line.split("\t")]
        if not any(fields) or (number == 1 and [field.lower() for field in fields] == ["file", "transcript"]):
            continue
        if len(fields) != 2 or not all(fields):
            raise InputError(f"{place}: expected a recording's path, a tab and its transcript")
        yield place, fields[0], fields[1]
