"""Two thousand damaged files for each reader; ``python -m tests.fuzz`` tries as many as one likes."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _fuzz() -> ModuleType:
    """The module beside this file, under a name by which processes of its own find it."""
    root = str(Path(__file__).parents[1])
    if root not in sys.path:
        sys.path.insert(0, root)
    return importlib.import_module("tests.fuzz")


fuzz = _fuzz()


@pytest.mark.parametrize("reader", fuzz.READERS)
def test_damaged_files_are_read_or_refused(reader: str) -> None:
    assert fuzz.run(reader, 2000, seed=1) == []
