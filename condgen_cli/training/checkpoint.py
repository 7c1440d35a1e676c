"""Checkpoints: safetensors for tensors, JSON for everything else, SHA256SUMS over both; nothing is pickled.

A checkpoint is written beside the previous one, renamed when it is complete, and only then the previous one is deleted:
whenever the process dies, a complete checkpoint is left.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from condgen_cli.errors import IntegrityError

__all__ = ["Checkpoint", "CheckpointWriter", "latest_checkpoint", "random_state", "restore_random_state"]

_SUMS = "SHA256SUMS"
_PARTIAL = ".partial"


class Checkpoint:
    """A checkpoint on disk, whose files have been verified.

    Args:
        directory: folder of the checkpoint.
    Raises:
        IntegrityError: if a file is missing or its hash differs.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for line in self.text(_SUMS).splitlines():
            expected, _, name = line.partition("  ")
            path = directory / Path(name).name
            if not path.is_file() or _sha256(path) != expected:
                raise IntegrityError(f"checkpoint {path} is damaged", f"delete {directory} to start from the beginning")

    def text(self, name: str) -> str:
        try:
            return (self.directory / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise IntegrityError(f"checkpoint {self.directory} is damaged: {error}") from None

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors of ``NAME.safetensors`` by name, on the CPU; empty if there is no such file."""
        path = self.directory / f"{name}.safetensors"
        try:
            return load_file(path) if path.is_file() else {}
        except (SafetensorError, OSError) as error:
            raise IntegrityError(f"checkpoint {path} is damaged: {error}") from None


class CheckpointWriter:
    """Writes one checkpoint; several processes may write files before one of them calls ``commit``.

    Args:
        parent: folder of the run's checkpoints.
    """

    def __init__(self, parent: Path) -> None:
        self.parent = parent
        previous = _complete_checkpoints(parent)
        number = int(previous[-1].name) + 1 if previous else 1
        self.final = parent / f"{number:06d}"
        self.directory = self.final.with_suffix(_PARTIAL)

    def begin(self) -> None:
        """Create an empty folder for the checkpoint."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)

    def text(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text, encoding="utf-8")

    def tensors(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Write ``NAME.safetensors``. A tensor with several names is written under each."""
        copies = {key: tensor.detach().to("cpu", copy=True).contiguous() for key, tensor in tensors.items()}
        # not save_file: it ignores the umask, so that other users couldn't read the file
        (self.directory / f"{name}.safetensors").write_bytes(save(copies))

    def commit(self) -> None:
        """Make this checkpoint the latest and delete the others."""
        files = sorted(path for path in self.directory.iterdir() if path.name != _SUMS)
        self.text(_SUMS, "".join(f"{_sha256(path)}  {path.name}\n" for path in files))
        for path in self.directory.iterdir():
            _flush(path)
        os.replace(self.directory, self.final)
        _flush(self.parent)
        for old in self.parent.iterdir():
            if old != self.final:
                shutil.rmtree(old, ignore_errors=True)


def latest_checkpoint(parent: Path) -> Checkpoint | None:
    """The latest complete checkpoint in ``parent``, verified; None if there is none."""
    whole = _complete_checkpoints(parent)
    return Checkpoint(whole[-1]) if whole else None


def random_state() -> dict[str, Tensor]:
    """States of this process's random generators: Python's, NumPy's and torch's (CPU and GPUs)."""
    version, words, gauss = random.getstate()
    numpy: dict[str, Any] = np.random.get_state(legacy=False)
    state = {
        "torch": torch.get_rng_state(),
        "numpy.key": torch.from_numpy(numpy["state"]["key"].astype(np.int64)),
        "numpy.position": torch.tensor([numpy["state"]["pos"], numpy["has_gauss"]]),
        "numpy.gauss": torch.tensor(numpy["gauss"], dtype=torch.float64),
        "python.words": torch.tensor([version, *words]),
        "python.gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
    }
    if torch.cuda.is_available():
        state |= {f"cuda.{index}": value for index, value in enumerate(torch.cuda.get_rng_state_all())}
    return state


def restore_random_state(state: Mapping[str, Tensor]) -> None:
    """Set all random generators to the states that ``random_state`` returned."""
    torch.set_rng_state(state["torch"])
    position, has_gauss = state["numpy.position"].tolist()
    np.random.set_state(
        {
            "bit_generator": "MT19937",
            "state": {"key": state["numpy.key"].numpy().astype(np.uint32), "pos": position},
            "has_gauss": has_gauss,
            "gauss": state["numpy.gauss"].item(),
        }
    )
    version, *words = state["python.words"].tolist()
    gauss = state["python.gauss"].tolist()
    random.setstate((version, tuple(words), gauss[0] if gauss else None))
    for index in range(torch.cuda.device_count()):
        if f"cuda.{index}" in state:
            torch.cuda.set_rng_state(state[f"cuda.{index}"], index)


def _complete_checkpoints(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return sorted((path for path in parent.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Flush a file or folder to disk, so that a power failure can't leave a renamed but empty file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
