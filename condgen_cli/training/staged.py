"""Training a recipe's stages one after the other, without repeating those that are done.

The run's folder holds ``recipe.json`` with all stages, a folder ``NUMBER-NAME`` for each, which is a run like any other, and in
the end the files of the last stage's model. A stage's ``stage.json`` holds the hashes of the models of earlier stages that it
started from, and the summary of its training: a stage is done if it has ended and these models are unchanged.
"""

from __future__ import annotations

import gc
import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from condgen_cli.errors import CondgenError, NotFoundError, UsageError
from condgen_cli.files import replacement, write_atomically
from condgen_cli.files.names import safe_path
from condgen_cli.terminal.console import info
from condgen_cli.training.build import build_experiment, find_experiment
from condgen_cli.training.loop import train
from condgen_cli.training.recipe import Recipe, check
from condgen_cli.training.run import MAY_CHANGE, RunDirectory, differing_keys
from condgen_cli.training.stages import REFERENCE, Stage, Stages, parse_stages, read_text
from condgen_cli.training.together import is_main_process

__all__ = ["StagesSummary", "check_names", "check_stages", "train_stages"]

_LONGER = {"training.epochs", "training.patience"}
"""Settings that continue a stage that has ended, if they are changed."""


@dataclass(frozen=True)
class StagesSummary:
    """The result of a run with several stages.

    Args:
        run_dir: folder of the run, with the last stage's model unless only an earlier stage was trained.
        stages: name and ``Summary.as_json`` of each stage that has been trained, in order.
    """

    run_dir: Path
    stages: tuple[tuple[str, Mapping[str, Any]], ...]

    def as_json(self) -> dict[str, Any]:
        """The summary of the last stage, with those of all stages as ``stages``."""
        stages = [{"name": name, **summary} for name, summary in self.stages]
        return {**self.stages[-1][1], "run_dir": str(self.run_dir), "stages": stages}


class _StagedRun:
    """The folder of a run with stages.

    Args:
        path: folder of the run, which need not exist.
        stages: stages of the recipe.
        data_dir: folder of the data, recorded for resuming the run.
    """

    def __init__(self, path: Path, stages: Stages, data_dir: Path | None) -> None:
        self.directory = RunDirectory(path)
        self.data_dir = data_dir
        self.path = path
        self.stages = stages
        self.is_new = not self.directory.recipe.exists()
        self.folders = {stage.name: path / stage.folder for stage in stages.stages}

    def check(self, resume: bool, force: bool, only: Stage | None) -> None:
        """Check that a run may start in this folder, or be resumed; nothing is written.

        Raises:
            NotFoundError: if there is no run to resume.
            UsageError: if another run would be overwritten, or the run to resume has another recipe.
        """
        recipe = self.stages.stages[0].recipe
        if not resume and (only is None or self.is_new):
            self.directory.check(recipe, resume=False, force=force)
        elif self.is_new:
            raise NotFoundError(f"no run to resume in {self.path}")
        else:
            self._check_same(only)

    def _check_same(self, only: Stage | None) -> None:
        old = parse_stages(read_text(self.directory.recipe), self.directory.recipe.name)
        if [stage.name for stage in old.stages] != [stage.name for stage in self.stages.stages]:
            reason = f"{self.path} holds a run of other stages than the recipe's"
            raise UsageError(reason, "start another run with -o, or replace it with --force")
        if only is not None:
            # the recorded settings of the other stages stay: they were trained with them
            kept = tuple(only if stage.name == only.name else stage for stage in old.stages)
            self.stages = replace(self.stages, stages=kept)
            return
        for before, now in zip(old.stages, self.stages.stages, strict=True):
            for key, was, wanted in differing_keys(before.recipe, now.recipe):
                if key not in MAY_CHANGE:
                    reason = f"the run in {self.path} has stages.{now.name}.{key} = {was!r}, the recipe says {wanted!r}"
                    raise UsageError(reason, "resume with the same recipe, or start another run with -o")

    def begin(self) -> None:
        """Write the run's recipe."""
        self.directory.write(self.stages.to_json(), False, self.data_dir)

    def undo(self) -> None:
        """Undo ``begin`` if there was no run before."""
        if self.is_new:
            self.directory.undo()

    def publish(self) -> None:
        """Copy the last stage's model to the run's folder, ``model.json`` last, unless it is there already."""
        folder = self.folders[self.stages.stages[-1].name]
        if _digest(self.path) == _digest(folder):
            return
        for name in [*_model_files(folder), "model.json"]:
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacement(target) as partial:
                shutil.copyfile(folder / name, partial)


class _StageDirectory(RunDirectory):
    """The folder of a stage's run. Its recipe refers to earlier stages by name, so that the run can be moved.

    Args:
        run: the run with all stages.
        stage: the stage.
    """

    def __init__(self, run: _StagedRun, stage: Stage) -> None:
        super().__init__(run.folders[stage.name])
        self.run = run
        self.stage = stage
        self._note = self.path / "stage.json"

    def state(self) -> str:
        """``done``; ``begun``: it can be resumed; ``new``: there is no run, or one with other settings or models."""
        if not self.recipe.is_file() or self._read_note("from") != self._sources():
            return "new"
        changed = {key for key, *_ in differing_keys(self.load_recipe(), self.stage.recipe)}
        if changed - MAY_CHANGE:
            return "new"
        return "begun" if changed & _LONGER or self.summary() is None else "done"

    def summary(self) -> dict[str, Any] | None:
        """The summary of the stage's training; None if it has not ended."""
        found = self._read_note("summary")
        return found if isinstance(found, dict) else None

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Record the summary of the stage's training."""
        self._write(summary)

    def load_recipe(self) -> Recipe:
        try:
            return check(Recipe, json.loads(read_text(self.recipe)), source=str(self.recipe))
        except (json.JSONDecodeError, RecursionError) as error:
            raise UsageError(f"{self.recipe}: {error}") from None

    def check(self, recipe: Recipe, resume: bool, force: bool = False) -> None:
        super().check(self.stage.recipe, resume, force)

    def begin(self, recipe: Recipe, resume: bool, data_dir: Path | None = None) -> None:
        self.run.begin()
        super().begin(self.stage.recipe, resume)
        self._write(None)

    def undo(self) -> None:
        self._note.unlink(missing_ok=True)
        super().undo()
        self.run.undo()

    def _sources(self) -> dict[str, str]:
        """Hashes of the models of earlier stages that this stage uses, by stage name."""
        return {name: _digest(self.run.folders[name]) for name in self.stage.references}

    def _read_note(self, key: str) -> Any:
        try:
            return json.loads(self._note.read_text(encoding="utf-8")).get(key)
        except (OSError, ValueError, RecursionError, AttributeError):
            return None

    def _write(self, summary: Mapping[str, Any] | None) -> None:
        document = {"from": self._sources(), "summary": summary}
        write_atomically(self._note, (json.dumps(document, indent=2) + "\n").encode())


def train_stages(
    stages: Stages,
    run_dir: Path,
    resume: bool = False,
    *,
    force: bool = False,
    only: Stage | None = None,
    device: str = "auto",
    data_dir: Path | None = None,
) -> StagesSummary:
    """Train the stages of a recipe, each from the models of earlier ones.

    Args:
        stages: stages of a recipe with ``[[stages]]``.
        run_dir: folder of the run.
        resume: continue an interrupted run; stages that are done are not repeated.
        force: start again although ``run_dir`` holds a run.
        only: the only stage to train, from the existing models of earlier stages.
        device: see ``condgen_cli.training.loop.train``.
        data_dir: folder of the data; None: the folder that the run has recorded.
    Raises:
        NotFoundError: if there is no run to resume, or no model of a stage that ``only`` needs.
        UsageError: if a stage is invalid or the run's folder doesn't fit; nothing has been written then.
        CondgenError: as ``build_experiment`` and ``train``.
    """
    run = _StagedRun(run_dir, stages, data_dir)
    run.check(resume, force, only)
    if data_dir is None and not run.is_new:
        run.data_dir = run.directory.data_dir
    wanted = stages.stages if only is None else (only,)
    check_stages(wanted)
    summaries = []
    for stage in wanted:
        directory = _StageDirectory(run, stage)
        if only is not None:
            _check_sources(run, stage)
        state = directory.state()
        _wait_for_everyone()
        summary = directory.summary()
        if only is None and resume and state == "done" and summary is not None:
            info(f"{_position(stage, stages)}: done already")
        elif only is None:
            summary = _train(directory, resume and state == "begun", True, device)
        else:
            if resume and state == "new" and directory.recipe.is_file():
                reason = f"stage {stage.name} in {run_dir} was started from another model or with other settings"
                raise UsageError(reason, "--force trains it again")
            summary = _train(directory, resume, force, device)
        summaries.append((stage.name, summary))
    if wanted[-1] == stages.stages[-1] and is_main_process():
        run.publish()
    return StagesSummary(run_dir, tuple(summaries))


def _train(directory: _StageDirectory, resume: bool, force: bool, device: str) -> dict[str, Any]:
    run, stage = directory.run, directory.stage
    directory.check(stage.recipe, resume, force)
    recipe = stage.resolve_references(run.folders)
    info(f"{_position(stage, run.stages)}: {'goes on' if resume else 'training'} in {directory.path}")
    experiment = build_experiment(recipe, run.data_dir, directory.path)
    summary = train(recipe, experiment, directory, resume, force=force, device=device)
    ended = {key: value for key, value in summary.as_json().items() if key != "run_dir"}
    if is_main_process():
        directory.finish(ended)
    run.is_new = False
    del experiment  # frees its memory for the next stage
    gc.collect()
    return ended


def check_stages(stages: Iterable[Stage]) -> None:
    """Check all stages before hours are spent on the first; see ``check_names``."""
    for stage in stages:
        try:
            check_names(stage.recipe)
        except CondgenError as error:
            if not stage.name:
                raise
            raise type(error)(f"stage {stage.name}: {error.message}", error.hint) from None


def check_names(recipe: Recipe) -> None:
    """Check that the names in a recipe exist, and that its sections have no unknown keys.

    Raises:
        NotFoundError: if the architecture, the data set or the initial model doesn't exist.
        UsageError: if the architecture belongs to another task, or a section or the data set has no such key.
    """
    from condgen_cli.data.store import check_options, dataset_spec
    from condgen_cli.training.library import initial_bundle

    kind = find_experiment(recipe)
    check(kind.data_options, recipe.data.model_dump(), "data")
    check(kind.objective_options, recipe.objective, "objective")
    check_options(dataset_spec(recipe.data.dataset), recipe.data.options.get("options", {}))
    recipe.make_decoding()
    if recipe.init and not recipe.init.startswith(REFERENCE):
        initial_bundle(recipe.init)


def _check_sources(run: _StagedRun, stage: Stage) -> None:
    for name in stage.references:
        if not _digest(run.folders[name]):
            reason = f"stage {stage.name} starts from the model of stage {name}, which is not in {run.path}"
            raise NotFoundError(reason, f"--stage {name} trains it")


def _position(stage: Stage, stages: Stages) -> str:
    return f"stage {stage.number} of {len(stages.stages)}, {stage.name}"


def _wait_for_everyone() -> None:
    """Wait for the other processes, so that none writes while another still reads which stages are done."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()


def _model_files(folder: Path) -> list[str]:
    """Names of the files of a run's model, without ``model.json``; empty if there is no model."""
    try:
        names = json.loads((folder / "model.json").read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return [safe_path(name) for name in names]


def _digest(folder: Path) -> str:
    """A hash of a run's model; empty if there is none."""
    digest = hashlib.sha256()
    try:
        for name in ["model.json", *_model_files(folder)]:
            digest.update(f"{name}\0".encode())
            with (folder / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError:
        return ""
    return digest.hexdigest()
