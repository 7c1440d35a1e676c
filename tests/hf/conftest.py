from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """The maker of tiny models beside this file; imports transformers."""
    pytest.importorskip("transformers", reason="needs condgen[hf]")
    return _load("tiny")


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def hub() -> Iterator[Any]:
    """A Hub on loopback."""
    module = _load("hub")
    with module.serve() as server:
        yield server
