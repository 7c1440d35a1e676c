"""From a model's name to its files and configuration: an entry of the zoo, or the folder of a training run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from condgen_cli.errors import IntegrityError, NotFoundError, UsageError
from condgen_cli.files.inputs import protect
from condgen_cli.running.decoding import Decoding
from condgen_cli.settings import RUNS

if TYPE_CHECKING:
    from condgen_cli.zoo import Entry

__all__ = ["Bundle", "Description", "default_decoding", "describe", "find_bundle", "find_run"]

RUN_FILE = "model.json"
"""What a training run writes about its model."""


@dataclass(frozen=True)
class Bundle:
    """What is needed to rebuild a model, from a zoo or from a training run.

    Args:
        name: as the user knows it.
        task: the name of its task.
        architecture: the name that a plugin registered.
        config: for the architecture's builder.
        decoding: arguments of ``Decoding``.
        files: local files by name; weights are those that end in ``.safetensors``, of which a later one wins.
        entry: the zoo's entry, if it comes from a zoo.
    """

    name: str
    task: str
    architecture: str
    config: Mapping[str, Any]
    decoding: Mapping[str, Any]
    files: Mapping[str, Path]
    entry: Entry | None = None


class Description(NamedTuple):
    """What is known of a model before its weights are read: its task, and how it decodes by default."""

    task: str
    decoding: Decoding


def describe(name: str | os.PathLike[str]) -> Description:
    """A model's description; nothing is fetched or built.

    Raises:
        NotFoundError: if there is no such model.
        IntegrityError: if its description is malformed.
    """
    bundle = find_bundle(os.fspath(name), files=False)
    return Description(bundle.task, default_decoding(bundle))


def find_bundle(name: str, files: bool = True) -> Bundle:
    """The bundle of a model.

    Args:
        name: the folder of a training run; an id or alias of the zoo; or, where the zoo has none of that name, that of a recipe
            that was trained in the folder ``runs``.
        files: verify the zoo's files and fetch those that are missing; False leaves ``Bundle.files`` of an entry empty.
    Raises:
        NotFoundError: if there is no such model.
        IntegrityError: if its description is malformed or its files don't match the manifest.
        NetworkError: if files are missing and can't be fetched.
    """
    if os.path.isdir(name) and os.path.lexists(os.path.join(name, RUN_FILE)):
        return _run_bundle(Path(name))
    if os.sep in name or name in (".", ".."):
        raise NotFoundError(f"{name} is not the folder of a training run: it holds no {RUN_FILE}")
    from condgen_cli.registry.plugins import manager
    from condgen_cli.zoo import open_zoo

    zoo = open_zoo()
    try:
        entry = zoo.entry(name)
    except NotFoundError as error:
        if run := find_run(name):
            return _run_bundle(run)
        hint = f"condgen train {name}" if name in manager().recipes else error.hint
        raise NotFoundError(error.message, hint) from None
    return Bundle(
        entry.id,
        entry.task,
        entry.architecture.name,
        entry.architecture.config,
        entry.decoding,
        zoo.files(entry) if files else {},
        entry,
    )


def find_run(name: str) -> Path | None:
    """The run of a recipe, or the name of a folder among the runs, if there is one with a model."""
    folder = RUNS / name
    return folder if os.sep not in name and (folder / RUN_FILE).is_file() else None


def default_decoding(bundle: Bundle) -> Decoding:
    """How the model decodes by default.

    Raises:
        IntegrityError: if the bundle's settings are no arguments of ``Decoding``.
    """
    try:
        return Decoding(**bundle.decoding)
    except (TypeError, UsageError) as error:
        raise IntegrityError(f"the decoding settings of {bundle.name} are wrong: {error}") from error


def _run_bundle(folder: Path) -> Bundle:
    from condgen_cli.files.names import safe_path

    path = folder / RUN_FILE
    protect(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = [safe_path(name) for name in content["files"]]
        bundle = Bundle(
            name=folder.resolve().name,
            task=content["task"],
            architecture=content["architecture"]["name"],
            config=content["architecture"]["config"],
            decoding=content.get("decoding", {}),
            files={name: folder / name for name in names},
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else f"{type(error).__name__}: {error}"
        raise IntegrityError(f"{path} is not a model's description: {reason}") from error
    for file in bundle.files.values():
        if not file.is_file():
            raise NotFoundError(f"{file} does not exist")
    return bundle
