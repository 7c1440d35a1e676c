"""Models from elsewhere: what a plugin implements for a source of models, and how their names are read.

Such a model is named ``SCHEME:MODEL`` or by a local folder. Options may follow, separated by commas:
``hf:ORG/NAME,target=de``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from condgen_cli.errors import UsageError
from condgen_cli.specs import ModelSourceSpec, resolve

__all__ = ["FoundModel", "ModelName", "ModelSource", "Resolved", "find_source", "folder_source", "parse_name"]

_SCHEME = re.compile(r"([a-z][a-z0-9-]+):(?!//|\\)(.+)", re.DOTALL)


@dataclass(frozen=True)
class FoundModel:
    """What the small files of a model say about it.

    Args:
        task: name of its task.
        architecture: name of an architecture that a plugin registers.
        config: configuration for its ``build``. Where it has ``options``, the user may add to them.
        decoding: default settings of decoding, fields of ``condgen_cli.running.decoding.Decoding``.
        description: one line.
        licence: licence of the weights, as its card states it; empty: unknown.
    """

    task: str
    architecture: str
    config: Mapping[str, Any] = field(default_factory=dict)
    decoding: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    licence: str = ""


class Resolved(NamedTuple):
    """A revision of a model on a server.

    Args:
        model: the model's name without scheme and revision.
        revision: the name of the revision, which never changes, such as the hash of a commit.
        files: names of all its files.
    """

    model: str
    revision: str
    files: tuple[str, ...]


class ModelSource(ABC):
    """A source of models. Its module imports nothing heavy: ``describe`` is called before any model is loaded."""

    @abstractmethod
    def select(self, files: Sequence[str]) -> list[str]:
        """The files that a model needs, of all files that it has; small ones first, the weights last.

        Raises:
            UsageError: if there are no weights that can be read safely; the hint says how to convert them.
        """

    @abstractmethod
    def describe(self, files: Mapping[str, Path]) -> FoundModel:
        """What a model's small files say.

        Args:
            files: local paths by name; files of weights may be missing.
        Raises:
            IntegrityError: if they are malformed.
            UsageError: if no plugin knows the model's architecture; the hint lists the known ones.
        """

    @abstractmethod
    def resolve(self, model: str) -> Resolved:
        """The revision that a name, with or without a revision, means at present on the server.

        Raises:
            NotFoundError: if there is no such model or revision.
            NetworkError: if the server can't be reached.
        """

    @abstractmethod
    def fetch(self, model: Resolved, file: str, again: bool = False) -> Path:
        """Download a file, unless the source's own cache has it, and return its path. Errors are those of ``resolve``.

        Args:
            again: whether to download it although the cache has it, since that copy is damaged.
        """


class ModelName(NamedTuple):
    """A model's name as the user writes it.

    Args:
        scheme: the source's scheme; empty for a folder, a run or a model of the zoo.
        model: the name without scheme and options.
        options: options by name.
    """

    scheme: str
    model: str
    options: Mapping[str, str]

    def __str__(self) -> str:
        name = f"{self.scheme}:{self.model}" if self.scheme else self.model
        return ",".join([name, *(f"{key}={value}" for key, value in self.options.items())])


def parse_name(name: str) -> ModelName:
    """Split a model's name into scheme, model and options. A folder whose name holds commas is a name without options.

    Raises:
        UsageError: if an option is not of the form ``NAME=VALUE``.
    """
    match = _SCHEME.fullmatch(name)
    scheme, rest = (match[1], match[2]) if match and match[1] in _specs() else ("", name)
    if not scheme and Path(rest).is_dir():
        return ModelName("", rest, {})
    model, *pairs = rest.split(",")
    options = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise UsageError(f"{name!r}: {pair!r} is no option of a model", f"{model},NAME=VALUE")
        options[key.strip()] = value.strip()
    return ModelName(scheme, model, options)


def find_source(scheme: str) -> ModelSource:
    """The source of a scheme.

    Raises:
        PluginError: if its plugin can't be used.
    """
    return _open(_specs()[scheme])


def folder_source(folder: Path) -> ModelSource | None:
    """The source that a local folder's model belongs to, by the file that marks it; None if it belongs to none."""
    for spec in _specs().values():
        if spec.marker and (folder / spec.marker).is_file():
            return _open(spec)
    return None


def _open(spec: ModelSourceSpec) -> ModelSource:
    from condgen_cli.errors import PluginError

    source = resolve(spec.open)()
    if not isinstance(source, ModelSource):
        raise PluginError(f"{spec.open} gives a {type(source).__name__}, not a ModelSource", "condgen plugin doctor")
    return source


def _specs() -> Mapping[str, ModelSourceSpec]:
    from condgen_cli.registry.plugins import manager

    return manager().model_sources
