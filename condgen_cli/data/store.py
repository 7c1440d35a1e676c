"""Where data sets lie, and how they are opened by name.

A data set is looked for in ``--data-dir``, else in the environment variable ``CONDGEN_DATA``, else in the store that
``condgen data pull`` fills: ``data/NAME`` below ``CONDGEN_HOME``. The first two name either the folder of the data set
itself or a folder that has one of its name, hyphens or underscores in it.
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
from condgen_cli.specs import Archive, DatasetSpec, named, resolve
from condgen_cli.terminal.suggestions import suggestion

if TYPE_CHECKING:
    from condgen_cli.model import Item

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
    """The data set of that name, the core's or a plugin's.

    Raises:
        NotFoundError: if there is none; near names are offered.
    """
    from condgen_cli.registry.plugins import manager

    spec: DatasetSpec = named(manager().datasets, "data set", name)
    return spec


def store_folder(spec: DatasetSpec) -> Path:
    """Where ``data pull`` puts a data set."""
    return settings.store_folder() / "data" / spec.name


def find_dataset_root(spec: DatasetSpec, data_dir: Path | str | None = None) -> Path:
    """The folder that holds a data set, in the order that this module's docstring gives.

    One that is generated has no folder of its own: any will do.

    Raises:
        NotFoundError: if it is nowhere.
    """
    if spec.generated:
        return Path()
    given = data_dir or os.environ.get("CONDGEN_DATA")
    if given:
        folder = settings.expanded(given, "--data-dir" if data_dir else "CONDGEN_DATA")
        if not folder.is_dir():
            raise NotFoundError(f"no folder {folder}", _hint(spec))
        own = (folder / name for name in _folder_names(spec))
        return next((one for one in own if one.is_dir()), folder)
    folder = store_folder(spec)
    if not folder.is_dir():
        raise NotFoundError(f"data set {spec.name} is not on this machine", _hint(spec))
    return folder


def present_root(spec: DatasetSpec, data_dir: Path | str | None = None) -> Path | None:
    """``find_dataset_root``, or None if there is nothing of the data set.

    A folder that is named for it is taken for it, and so is one that holds a file that ``data pull`` fetches.
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
    """What a data set's own folder may be called: its name, also with underscores."""
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
    """Open a data set's split; items are read lazily.

    Args:
        name: of the data set.
        split: one of its splits; None: its last, as ``eval`` takes it.
        data_dir: see ``find_dataset_root``.
        options: what ``--set`` gives; checked against what the data set declares, whose defaults fill in the rest.
    Raises:
        NotFoundError: if the data set is unknown or isn't there.
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
    """``KEY=VALUE`` strings, as ``--set`` takes them, as a dictionary; the last of a key wins, an empty one unsets it.

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
    """An option of a data set as it is typed, in a recipe's overrides and after ``--set`` alike.

    It is the text itself, without the quotes of a TOML string; items of a TOML list stand between commas. Nothing, or
    ``null``, is None, which leaves the option at its default.
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
    """A number, a truth value or a list, as TOML has it, as the text that an option of a data set is: ``20,40``, ``true``."""
    if isinstance(value, list):
        return ",".join(map(option_text, value))
    return value if isinstance(value, str) else json.dumps(value, default=str)


def check_options(spec: DatasetSpec, options: Mapping[str, str]) -> dict[str, str]:
    """Options for a data set's reader: those given, and defaults for the others that have one.

    Raises:
        UsageError: for an option that isn't declared, or a value that is none of its choices.
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
    """Code of the language that a data set's references are in; empty if it is unknown.

    Args:
        options: those that were given.
    Raises:
        UsageError: as ``check_options``.
    """
    return spec.language if isinstance(spec.language, str) else spec.language(check_options(spec, options))


def wanted_archives(spec: DatasetSpec, subset: str = "") -> list[Archive]:
    """The archives of a subset, and those that every subset needs; all of them if no subset is named.

    Raises:
        UsageError: if the data set has no such subset, or if none is named where the choice is the user's: where the data set
            declares an option ``subset`` that has no default.
    """
    subsets = sorted({name for archive in spec.archives for name in archive.sets})
    if subsets and not subset and "subset" in spec.options:
        sizes = ", ".join(f"{name}{_size_of(spec, name)}" for name in subsets)
        raise UsageError(f"data set {spec.name} is published in parts: say which", f"--set subset=NAME, of: {sizes}")
    if subset and subset not in subsets:
        raise UsageError(f"data set {spec.name} has no subset {subset!r}", suggestion(subset, subsets))
    return [archive for archive in spec.archives if not subset or not archive.sets or subset in archive.sets]


def _size_of(spec: DatasetSpec, subset: str) -> str:
    """How much a subset's own archives have, in brackets; nothing if their publisher doesn't say."""
    from condgen_cli.files.fetch import human_size

    sizes = [archive.size for archive in spec.archives if subset in archive.sets]
    return f" ({human_size(sum(sizes))})" if all(sizes) else ""


def pull_dataset(spec: DatasetSpec, options: Mapping[str, str]) -> list[Path]:
    """Fetch a data set into the store; what is there already and whole isn't fetched again.

    Raises:
        NotFoundError: if the data set can't be fetched, because its publisher wants to be asked.
        UsageError, NetworkError, IntegrityError: for a wrong option, a failed transfer, a file that differs from the published.
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
