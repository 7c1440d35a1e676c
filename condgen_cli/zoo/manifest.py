"""The manifest: which models a zoo has, and how to get, check, credit and use each."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator
from pydantic_core import from_json

from condgen_cli.errors import IntegrityError
from condgen_cli.validation import validation_message
from condgen_cli.zoo.names import safe_path, safe_url

__all__ = [
    "SCHEMA",
    "Architecture",
    "Entry",
    "Example",
    "File",
    "Manifest",
    "Reference",
    "Requirements",
    "Result",
    "Training",
    "TrainingData",
    "parse_manifest",
]

SCHEMA = 2
"""The manifest version that this condgen writes; it reads this and older ones. Since 2 references have options."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _printable(text: str) -> str:
    # a terminal obeys escape sequences, also those in a stranger's description
    if _CONTROL.search(text):
        raise ValueError("control characters are not allowed")
    return text


Text = Annotated[str, AfterValidator(_printable)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
RelativePath = Annotated[str, AfterValidator(safe_path)]
Url = Annotated[str, AfterValidator(safe_url)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    # a misspelt field must not pass for an absent one
    model_config = ConfigDict(extra="forbid", frozen=True)


class Architecture(_Part):
    """Which model to build: the name that a plugin registered, and the config its builder takes."""

    name: Text
    config: dict[str, JsonValue] = {}


class File(_Part):
    """A file of a model.

    Args:
        path: its name within the entry, such as ``model.safetensors`` or ``vocabulary.json``.
        urls: where it is, tried in order: absolute, or relative to the manifest.
        size: in bytes.
        sha256: in lower-case hexadecimal.
    """

    path: RelativePath
    urls: Annotated[tuple[Url, ...], Field(min_length=1)]
    size: Annotated[int, Field(ge=0, le=1 << 40)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class TrainingData(_Part):
    """A data set that the weights come from."""

    name: Text
    licence: Text
    url: Text = ""


class Result(_Part):
    """A score that we measured.

    Args:
        metric: a key as ``condgen eval`` prints it.
        interval: of 95 %, low and high.
        n: number of items.
        command: what measured it.
        signature: what makes it comparable: normaliser, tokenizer, split, seed, version.
    """

    dataset: Text
    split: Text
    metric: Text
    value: Number
    interval: tuple[Number, Number] | None = None
    n: Annotated[int, Field(ge=0)] | None = None
    command: Text = ""
    signature: Text = ""


class Reference(_Part):
    """A score that others report, to be set beside ours.

    Args:
        group: the part of the data set that it is of; empty: the whole.
        options: the data set's options that it holds for; those that aren't named have their defaults.
    """

    system: Text
    dataset: Text
    split: Text
    metric: Text
    value: Number
    note: Text = ""
    source: Text = ""
    group: Text = ""
    options: dict[str, Text] = {}


class Training(_Part):
    """How the weights came about; hours are of wall clock."""

    recipe: Text = ""
    seed: int | None = None
    hardware: Text = ""
    hours: Number | None = None


class Example(_Part):
    """A command to try, and what it prints."""

    command: Text
    expected: Text = ""


class Requirements(_Part):
    """What must be installed: the plugin, and the oldest condgen that reads this entry."""

    plugin: Text = ""
    condgen: Annotated[str, Field(pattern=r"^[0-9]{1,6}(\.[0-9]{1,6}){0,3}$")] = "0"


class Entry(_Part):
    """A model.

    Args:
        id: what the user types.
        aliases: other names for it.
        decoding: defaults for ``condgen_cli.decoding.Decoding``.
        card: Markdown beside the manifest, relative to it; empty: none.
    """

    id: Name
    aliases: tuple[Name, ...] = ()
    task: Text
    description: Text
    licence: Text
    revision: Text
    architecture: Architecture
    decoding: dict[str, JsonValue] = {}
    files: tuple[File, ...] = ()
    card: RelativePath | None = None
    data: tuple[TrainingData, ...] = ()
    training: Training = Training()
    results: tuple[Result, ...] = ()
    references: tuple[Reference, ...] = ()
    example: Example | None = None
    requires: Requirements = Requirements()

    @property
    def names(self) -> tuple[str, ...]:
        return (self.id, *self.aliases)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @model_validator(mode="after")
    def _distinct_paths(self) -> Entry:
        # without case: two such files would be one on macOS and Windows
        if twice := _repeated([file.path.casefold() for file in self.files]):
            raise ValueError(f"two files named {twice}")
        paths = {PurePosixPath(file.path.casefold()) for file in self.files}
        if any(parent in paths for path in paths for parent in path.parents):
            raise ValueError("a file's path is another file's folder")
        return self


class Manifest(_Part):
    """What ``manifest.json`` holds."""

    # ``schema`` itself is a method of pydantic's models
    version: Annotated[int, Field(alias="schema", ge=1, le=SCHEMA)]
    entries: tuple[Entry, ...] = ()

    @model_validator(mode="after")
    def _distinct_names(self) -> Manifest:
        if twice := _repeated([name for entry in self.entries for name in entry.names]):
            raise ValueError(f"two models named {twice}")
        return self


def _repeated(names: list[str]) -> str:
    return next((name for index, name in enumerate(names) if name in names[:index]), "")


def parse_manifest(data: bytes, source: str) -> Manifest:
    """The manifest in ``data``; ``source`` names it in errors.

    Raises:
        IntegrityError: if it is malformed, or of a newer schema than this condgen knows.
    """
    version = _schema_of(data, source)
    if version > SCHEMA:
        message = f"manifest {source} has schema {version}, newer than the {SCHEMA} that this condgen reads"
        raise IntegrityError(message, "pip install --upgrade condgen")
    try:
        return Manifest.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise IntegrityError(f"manifest {source}: {validation_message(error)}") from None


def _schema_of(data: bytes, source: str) -> int:
    try:
        document: Any = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise IntegrityError(f"manifest {source} is not JSON: {error}") from None
    version = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise IntegrityError(f"manifest {source} has no schema number: not a manifest of condgen")
    return version
