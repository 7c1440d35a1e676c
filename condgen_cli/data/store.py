"""Finding, opening and downloading data sets by name.

A data set is looked for in ``--data-dir``, else in the environment variable ``CONDGEN_DATA``, else in the store of
``condgen data pull``: ``data/NAME`` in ``CONDGEN_HOME``. The first two are either the folder of the data set itself, or a
folder that contains one with its name, with hyphens or underscores.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from condgen_cli import settings
from condgen_cli.errors import NotFoundError, UsageError
from condgen_cli.registry.guard import divert_stdout
from condgen_cli.specs import Archive, DatasetSpec, look_up, resolve
from condgen_cli.terminal.suggestions import suggestion

if TYPE_CHECKING:
    from condgen_cli.item import Item

__all__ = [
    "check_options",
    "dataset_spec",
    "find_dataset_root",
    "open_dataset",
    "option_text",
    "option_value",
    "parse_options",
    "present_root",
    "pull_dataset",
    "store_folder",
    "target_language",
    "wanted_archives",
]


def dataset_spec(name: str) -> DatasetSpec:
    """The spec of the data set with this name, the core's or a plugin's.

    Raises:
        NotFoundError: if there is none; the hint suggests similar names.
    """
    from condgen_cli.registry.plugins import manager

    spec: DatasetSpec = look_up(manager().datasets, "data set", name)
    return spec


def store_folder(spec: DatasetSpec) -> Path:
    """The folder of a data set in the store, where ``condgen data pull`` puts it."""
    return settings.store_folder() / "data" / spec.name


def find_dataset_root(spec: DatasetSpec, data_dir: Path | str | None = None) -> Path:
    """The folder of a data set, found as the docstring of this module says.

    A generated data set has no folder; any path is returned.

    Raises:
        NotFoundError: if it isn't found.
    """
    if spec.generated:
        return Path()
    given = data_dir or os.environ.get("CONDGEN_DATA")
    if given:
        folder = settings.expand_home(given, "--data-dir" if data_dir else "CONDGEN_DATA")
        if not folder.is_dir():
            raise NotFoundError(f"no folder {folder}", _hint(spec))
        own = (folder / name for name in _folder_names(spec))
        return next((one for one in own if one.is_dir()), folder)
    folder = store_folder(spec)
    if not folder.is_dir():
        raise NotFoundError(f"data set {spec.name} is not on this machine", _hint(spec))
    return folder


def present_root(spec: DatasetSpec, data_dir: Path | str | None = None) -> Path | None:
    """The result of ``find_dataset_root``, or None if nothing of the data set is there.

    A folder counts if it has the name of the data set, or contains a file that ``condgen data pull`` downloads.
    """
    try:
        root = find_dataset_root(spec, data_dir)
    except NotFoundError:
        return None
    if spec.generated:
        return root
    holds_file = any((root / archive.path).exists() for archive in spec.archives)
    return root if root.name in _folder_names(spec) or holds_file else None


def _folder_names(spec: DatasetSpec) -> tuple[str, str]:
    """Possible names of a data set's folder: its name, with hyphens or underscores."""
    return spec.name, spec.name.replace("-", "_")


def _hint(spec: DatasetSpec) -> str:
    return (
        f"condgen data pull {spec.name}"
        if spec.archives
        else f"name its folder with --data-dir (see: condgen data show {spec.name})"
    )


@divert_stdout()
def open_dataset(
    name: str,
    split: str | None = None,
    data_dir: Path | str | None = None,
    options: Mapping[str, str] | None = None,
) -> Iterable[Item]:
    """Open a split of a data set; items are read lazily.

    Args:
        name: name of the data set.
        split: name of the split; None: the last one, as for ``condgen eval``.
        data_dir: folder of the data set, see ``find_dataset_root``.
        options: options of the data set, as ``--set`` gives them; others have their defaults.
    Raises:
        NotFoundError: if the data set is unknown or isn't found.
        UsageError: if it has no such split or option.
    """
    spec = dataset_spec(name)
    split = split or spec.splits[-1]
    if split not in spec.splits:
        raise UsageError(f"data set {name} has no split {split!r}", f"its splits: {', '.join(spec.splits)}")
    chosen = check_options(spec, options or {})
    items: Iterable[Item] = resolve(spec.open)(find_dataset_root(spec, data_dir), split, **chosen)
    return items


def parse_options(assignments: Iterable[str]) -> dict[str, str]:
    """Parse ``KEY=VALUE`` strings of ``--set``; the last value of a key counts, and an empty one unsets it.

    Raises:
        UsageError: if one has no ``=`` or no key.
    """
    options: dict[str, str] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not key.strip() or not equals:
            raise UsageError(f"--set {assignment!r} is not KEY=VALUE")
        options.pop(key.strip(), None)
        if (value := option_value(text)) is not None:
            options[key.strip()] = value
    return options


def option_value(text: str) -> str | None:
    """Parse the value of a data set's option, in overrides of a recipe and in ``--set``.

    The value is the text itself; a TOML string loses its quotes, and a TOML list becomes its items separated by commas. An
    empty text or ``null`` gives None, the option's default.
    """
    text = text.strip()
    if text in ("", "null"):
        return None
    if text[0] not in "\"'[":
        return text
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return option_text(parsed["value"]) if parsed.keys() == {"value"} else text


def option_text(value: object) -> str:
    """A TOML value as the text of a data set's option, such as ``20,40`` for a list or ``true``."""
    if isinstance(value, list):
        return ",".join(map(option_text, value))
    return value if isinstance(value, str) else json.dumps(value, default=str)


def check_options(spec: DatasetSpec, options: Mapping[str, str]) -> dict[str, str]:
    """The options for a data set's reader: the given ones, and the defaults of others.

    Raises:
        UsageError: for an undeclared option, or a value that is not among its choices.
    """
    for name, value in options.items():
        if name not in spec.options:
            raise UsageError(
                f"data set {spec.name} has no option {name!r}", suggestion(name, spec.options) or "it has no options"
            )
        choices = spec.options[name].choices
        if choices and value not in choices:
            raise UsageError(f"{name} of data set {spec.name} can't be {value!r}", suggestion(value, choices))
    defaults = {name: option.default for name, option in spec.options.items() if option.default}
    return {**defaults, **options}


def target_language(spec: DatasetSpec, options: Mapping[str, str]) -> str:
    """The language code of a data set's references; empty if it is unknown.

    Args:
        spec: the data set.
        options: its options, without defaults.
    Raises:
        UsageError: as ``check_options``.
    """
    return spec.language if isinstance(spec.language, str) else spec.language(check_options(spec, options))


def wanted_archives(spec: DatasetSpec, subset: str = "") -> list[Archive]:
    """The archives of a subset, with those that all subsets need; without a subset, all archives.

    Raises:
        UsageError: if the data set has no such subset, or if none is given although the data set declares an option
            ``subset`` without a default.
    """
    subsets = sorted({name for archive in spec.archives for name in archive.sets})
    if subsets and not subset and "subset" in spec.options:
        sizes = ", ".join(f"{name}{_size_of(spec, name)}" for name in subsets)
        raise UsageError(f"data set {spec.name} has several subsets: choose one", f"--set subset=NAME, one of: {sizes}")
    if subset and subset not in subsets:
        raise UsageError(f"data set {spec.name} has no subset {subset!r}", suggestion(subset, subsets))
    return [archive for archive in spec.archives if not subset or not archive.sets or subset in archive.sets]


def _size_of(spec: DatasetSpec, subset: str) -> str:
    """The size of a subset's own archives in brackets; empty if it is unknown."""
    from condgen_cli.files.fetch import human_size

    sizes = [archive.size for archive in spec.archives if subset in archive.sets]
    return f" ({human_size(sum(sizes))})" if all(sizes) else ""


def pull_dataset(spec: DatasetSpec, options: Mapping[str, str]) -> list[Path]:
    """Download a data set to the store; complete files that are there already are not downloaded again.

    Raises:
        NotFoundError: if the data set can't be downloaded, since its publisher requires a request.
        UsageError: if an option is wrong.
        NetworkError, IntegrityError: if a download fails, or a file differs from the published one.
    """
    from condgen_cli.files.fetch import fetch

    if not spec.archives:
        where = f" from {spec.homepage}" if spec.homepage else ""
        raise NotFoundError(f"data set {spec.name} can't be pulled: get it{where} and name its folder with --data-dir")
    folder = store_folder(spec)
    paths = []
    for archive in wanted_archives(spec, check_options(spec, options).get("subset", "")):
        path = folder / archive.path
        size = archive.size or None
        fetch(archive.urls, path, size=size, sha256=archive.sha256, md5=archive.md5, description=archive.path)
        paths.append(path)
    return paths
