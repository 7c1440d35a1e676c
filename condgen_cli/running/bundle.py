"""Finding a model's files and configuration by its name: in the zoo, or in the folder of a training run."""

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
from condgen_cli.zoo.elsewhere import ModelName, folder_source, parse_name

if TYPE_CHECKING:
    from condgen_cli.zoo import Entry

__all__ = ["Bundle", "Description", "default_decoding", "describe", "find_bundle", "find_run"]

RUN_FILE = "model.json"
"""The file in which a training run describes its model."""


@dataclass(frozen=True)
class Bundle:
    """All that is needed to rebuild a model, from a zoo or a training run.

    Args:
        name: the name shown to users.
        task: name of its task.
        architecture: name of its architecture.
        config: configuration for the architecture's ``build``.
        decoding: arguments of ``Decoding``.
        files: local paths by file name. Files ending in ``.safetensors`` hold weights; of a weight in several, the last counts.
        entry: entry in the zoo; None for a training run.
    """

    name: str
    task: str
    architecture: str
    config: Mapping[str, Any]
    decoding: Mapping[str, Any]
    files: Mapping[str, Path]
    entry: Entry | None = None


class Description(NamedTuple):
    """A model's task and default decoding, known without reading its weights."""

    task: str
    decoding: Decoding


def describe(name: str | os.PathLike[str]) -> Description:
    """A model's description; nothing is downloaded or built.

    Raises:
        NotFoundError: if there is no such model.
        IntegrityError: if its description is malformed.
    """
    bundle = find_bundle(os.fspath(name), files=False)
    return Description(bundle.task, default_decoding(bundle))


def find_bundle(name: str, files: bool = True) -> Bundle:
    """The bundle of a model.

    Args:
        name: folder of a training run; id or alias of a zoo model; or else the name of a recipe that was trained in the folder
            ``runs``. A model from elsewhere: its folder, or ``SCHEME:MODEL``, such as ``hf:ORG/NAME``; options may follow,
            ``,NAME=VALUE``.
        files: whether to verify a zoo model's files and fetch missing ones; False leaves its ``Bundle.files`` empty.
    Raises:
        NotFoundError: if there is no such model.
        IntegrityError: if its description is malformed or its files don't match the manifest.
        NetworkError: if files are missing and can't be fetched.
    """
    if os.path.isdir(name) and os.path.lexists(os.path.join(name, RUN_FILE)):
        return _run_bundle(Path(name))
    parsed = parse_name(name)
    if parsed.scheme or parsed.options or os.path.isdir(name):
        bundle = _bundle_from_elsewhere(parsed, files)
        if bundle is not None:
            return bundle
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
    """The model's default decoding settings.

    Raises:
        IntegrityError: if the bundle's settings are no valid arguments of ``Decoding``.
    """
    try:
        return Decoding(**bundle.decoding)
    except (TypeError, UsageError) as error:
        raise IntegrityError(f"the decoding settings of {bundle.name} are wrong: {error}") from error


def _bundle_from_elsewhere(name: ModelName, files: bool) -> Bundle | None:
    """The bundle of a model that a source of models knows; None if it has no scheme and is no folder of such a model."""
    if name.scheme:
        from condgen_cli.zoo import open_zoo

        zoo = open_zoo()
        entry = zoo.obtain(f"{name.scheme}:{name.model}")
        local = zoo.files(entry) if files else {}
        config = _with_options(entry.architecture.config, name)
        return Bundle(str(name), entry.task, entry.architecture.name, config, entry.decoding, local, entry)
    folder = Path(name.model)
    source = folder_source(folder)
    if source is None:
        if name.options:
            raise UsageError(f"{name.model} is no model that takes options", None)
        return None
    names = [str(path.relative_to(folder).as_posix()) for path in sorted(folder.rglob("*")) if path.is_file()]
    found = {one: folder / one for one in source.select(names)}
    model = source.describe(found)
    config = _with_options(model.config, name)
    label = str(name._replace(model=folder.resolve().name))
    return Bundle(label, model.task, model.architecture, config, model.decoding, found if files else {})


def _with_options(config: Mapping[str, Any], name: ModelName) -> Mapping[str, Any]:
    """The configuration with the options that the user wrote after the model's name."""
    if not name.options:
        return config
    if "options" not in config:
        raise UsageError(f"{name.model} is no model that takes options", None)
    return {**config, "options": {**config["options"], **name.options}}


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
