"""The log of a run: one JSON object per line, a training record or an evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condgen_cli.files import write_atomically

__all__ = ["Log", "read_log"]


class Log:
    """Appends records to a file.

    Args:
        path: path of the file.
        step: the run's current step; records of later steps are deleted, since a resumed run writes them again.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        kept = [record for record in read_log(path) if record["step"] <= step]
        write_atomically(path, "".join(_line(record) for record in kept).encode())

    def write(self, record: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(record))


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a log up to the first incomplete line; empty if there is no such file."""
    records = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except (json.JSONDecodeError, RecursionError):
                break
    return records


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record) + "\n"
