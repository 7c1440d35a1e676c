"""The folder of a run: ``recipe.json``, ``log.jsonl``, ``curve.png``, ``checkpoints/`` and the exported model."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from condgen_cli.errors import NotFoundError, UsageError
from condgen_cli.files import refuse_input, storage_error, write_atomically
from condgen_cli.training.experiment import Experiment
from condgen_cli.training.recipe import Recipe
from condgen_cli.training.stages import read_recipe

__all__ = ["MAY_CHANGE", "RunDirectory", "differing_keys"]

MAY_CHANGE = {"training.epochs", "training.patience", "training.log_every", "training.checkpoint_every"}
"""Settings that a resumed run may change: they make the run longer, or its log and checkpoints more frequent."""


class RunDirectory:
    """The files of one run.

    Args:
        path: folder of the run, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.json"
        self.log = path / "log.jsonl"
        self.curve = path / "curve.png"
        self.checkpoints = path / "checkpoints"
        self._data_dir = path / "data-dir.txt"

    @property
    def data_dir(self) -> Path | None:
        """The folder of the run's data, if it was given."""
        try:
            return Path(self._data_dir.read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n"))
        except OSError:
            return None

    def check(self, recipe: Recipe, resume: bool, force: bool = False) -> None:
        """Check that a run may start in this folder, or be resumed; nothing is written.

        Raises:
            NotFoundError: if there is no run to resume.
            UsageError: if another run would be overwritten, or the run to resume has another recipe.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path} is not a directory")
        refuse_input(self.path)
        if not resume:
            if self.recipe.exists() and not force:
                raise UsageError(f"{self.path} holds a run already", "--resume continues it, --force starts it again")
            others = [file.name for file in (self.checkpoints, self.log, self.curve, self.path / "model.json") if file.exists()]
            if others and not (self.recipe.exists() or force):
                reason = f"{self.path} is not a run, and its {others[0]} would be replaced"
                raise UsageError(reason, "choose another folder with -o, or replace it with --force")
            return
        if not self.recipe.exists():
            raise NotFoundError(f"no run to resume in {self.path}")
        for key, was, wanted in differing_keys(self.load_recipe(), recipe):
            if key not in MAY_CHANGE:
                reason = f"the run in {self.path} has {key} = {was!r}, the recipe says {wanted!r}"
                raise UsageError(reason, "resume with the same recipe, or start another run with -o")

    def load_recipe(self) -> Recipe:
        """Read the run's recipe.

        Raises:
            UsageError: if it can't be read.
        """
        return read_recipe(self.recipe)

    def begin(self, recipe: Recipe, resume: bool, data_dir: Path | None = None) -> None:
        """Write the run's recipe; arguments and errors as ``write``."""
        self.write(recipe.to_json(), resume, data_dir)

    def write(self, recipe: str, resume: bool, data_dir: Path | None) -> None:
        """Write the recipe and the folder of the data, for resuming; unless resumed, delete the files of an earlier run.

        Raises:
            UsageError: if the folder is an input of the running command.
            CondgenError: if nothing can be written there.
        """
        refuse_input(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not resume:
                for file in (self.log, self.curve):
                    file.unlink(missing_ok=True)
                shutil.rmtree(self.checkpoints, ignore_errors=True)
            if data_dir is None:
                self._data_dir.unlink(missing_ok=True)
            else:
                write_atomically(self._data_dir, f"{data_dir.absolute()}\n".encode("utf-8", "surrogateescape"))
            write_atomically(self.recipe, recipe.encode())
        except OSError as error:
            raise storage_error(self.path, error) from None

    def undo(self) -> None:
        """Delete what ``begin`` wrote, the log, curve and checkpoints: the remains of a run that has nothing to resume from."""
        with suppress(OSError):
            for file in (self.recipe, self.log, self.curve, self._data_dir):
                file.unlink(missing_ok=True)
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            self.path.rmdir()

    def export(self, experiment: Experiment) -> None:
        """Export the experiment's model to the folder: each file is replaced atomically, ``model.json`` last."""
        partial = self.path / "export.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        experiment.export(partial)
        files = sorted((file for file in partial.rglob("*") if file.is_file()), key=lambda file: file.name == "model.json")
        for file in files:
            target = self.path / file.relative_to(partial)
            target.parent.mkdir(parents=True, exist_ok=True)
            # some libraries ignore the umask and write files that no other user may read
            file.chmod(self.recipe.stat().st_mode & 0o777)
            os.replace(file, target)
        shutil.rmtree(partial)


def differing_keys(old: Recipe, new: Recipe) -> list[tuple[str, Any, Any]]:
    """The settings that differ between two recipes, as (key path, old value, new value) in alphabetical order."""
    was, wanted = (_flat(recipe.model_dump(mode="json")) for recipe in (old, new))
    return [(key, was.get(key), wanted.get(key)) for key in sorted(was | wanted) if was.get(key) != wanted.get(key)]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one dictionary by key path."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
