"""Reader of users' own recordings: a folder with a tab-separated file of transcripts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from condgen_cli.data.packed import read_lines
from condgen_cli.data.splits import split_file
from condgen_cli.errors import InputError, NotFoundError
from condgen_cli.item import Item

__all__ = ["audio_folder"]


def audio_folder(root: Path, split: str, tsv: str = "{split}.tsv") -> Sequence[Item]:
    """Users' own recordings: a folder, and a file with a path, a tab and a transcript on each line.

    The file is UTF-8. A first line ``file TAB transcript`` is a heading, empty lines are skipped. White space around a
    transcript is removed; nothing else is changed.

    Args:
        root: the folder, which paths are relative to.
        split: split, which replaces ``{split}`` in the file's name. A file without it is the split ``test``.
        tsv: name of the file, relative to the folder.
    Returns:
        Items in the file's order, with paths as ids. A missing recording is an error when it is read.
    Raises:
        UsageError: if the file doesn't hold the split.
        NotFoundError: if the file is missing.
        InputError: if a line isn't UTF-8, doesn't have two non-empty columns or repeats a path; the message begins with its
            file and number.
    """
    path = split_file(root, tsv, split)
    if not path.is_file():
        raise NotFoundError(f"no file {path}", "each line: path of a recording TAB its transcript")
    transcripts: dict[str, str] = {}
    for place, name, transcript in _columns(path):
        if name in transcripts:
            raise InputError(f"{place}: {name} is in an earlier line too")
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
