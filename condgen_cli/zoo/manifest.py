"""The manifest of a zoo: its models with their files, hashes, licences, results and recipes."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field, JsonValue, ValidationError, model_validator
from pydantic_core import from_json

from condgen_cli.errors import IntegrityError
from condgen_cli.files.names import safe_path, safe_url
from condgen_cli.files.validation import validation_message
from condgen_cli.terminal.printable import printable

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

SCHEMA = 3
"""The schema version that this condgen writes; it reads this and older ones. Version 2 added options of references, version 3
recipes of models."""

MOST_MODELS = 10_000
MOST_ALIASES = 100
"""Maximum number of aliases of a model."""
MOST_NAMES = 20_000
"""Maximum number of ids and aliases of all models together: a misspelt name is compared with each."""
MOST_PARTS = 1_000
"""Maximum number of files of a model, and likewise of results, references and data sets."""
MOST_FIELDS = 100
LONGEST_LINE = 2_000
LONGEST_TEXT = 100_000
"""Maximum length in characters."""


def _one_line(text: str) -> str:
    # escape sequences would control the terminal, and text after a line break would look like condgen's own output
    if printable(text) != text:
        raise ValueError("control characters and ends of lines are not allowed")
    return text


def _plain_lines(text: str) -> str:
    if printable(text, lines=True) != text:
        raise ValueError("control characters are not allowed")
    return text


Line = Annotated[str, Field(max_length=LONGEST_LINE), AfterValidator(_one_line)]
Lines = Annotated[str, Field(max_length=LONGEST_TEXT), AfterValidator(_plain_lines)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
Registered = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
"""A name that a plugin registers; hints put it into commands to be pasted."""
RelativePath = Annotated[str, AfterValidator(safe_path)]
Url = Annotated[str, AfterValidator(safe_url)]
Number = Annotated[float, Field(allow_inf_nan=False)]
T = TypeVar("T")
# stops at the first error: there might be a million malformed parts
Parts = Annotated[tuple[T, ...], Field(max_length=MOST_PARTS), FailFast()]

_BOM = b"\xef\xbb\xbf"
"""The byte order mark that some editors write before UTF-8."""


class _Part(BaseModel):
    # a misspelt field is an error, not a missing field
    model_config = ConfigDict(extra="forbid", frozen=True)


class Architecture(_Part):
    """The architecture of a model: the name that a plugin registered, and the config of its builder."""

    name: Registered
    config: dict[str, JsonValue] = {}


class File(_Part):
    """A file of a model.

    Args:
        path: name within the entry, such as ``model.safetensors`` or ``vocabulary.json``.
        urls: addresses, absolute or relative to the manifest, tried in order.
        size: bytes.
        sha256: hash in lower-case hexadecimal.
    """

    path: RelativePath
    urls: Annotated[tuple[Url, ...], Field(min_length=1, max_length=100), FailFast()]
    size: Annotated[int, Field(ge=0, le=1 << 40)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class TrainingData(_Part):
    """A data set that the weights were trained on."""

    name: Line
    licence: Line
    url: Line = ""


class Result(_Part):
    """A score that we measured.

    Args:
        metric: key, as ``condgen eval`` prints it.
        interval: lower and upper end of the 95 % interval.
        n: number of items.
        command: command that measured it.
        signature: settings that a comparable score shares: normaliser, tokenizer, split, seed, version.
    """

    dataset: Line
    split: Line
    metric: Line
    value: Number
    interval: tuple[Number, Number] | None = None
    n: Annotated[int, Field(ge=0)] | None = None
    command: Line = ""
    signature: Line = ""


class Reference(_Part):
    """A published score, shown beside ours.

    Args:
        group: part of the data set that the score is for; empty: the whole.
        options: options of the data set that the score is for; others have their defaults.
    """

    system: Line
    dataset: Line
    split: Line
    metric: Line
    value: Number
    note: Line = ""
    source: Line = ""
    group: Line = ""
    options: dict[str, Line] = {}


class Training(_Part):
    """How the weights were trained.

    Args:
        recipe: name of the recipe.
        hours: wall-clock time.
    """

    recipe: Line = ""
    seed: int | None = None
    hardware: Line = ""
    hours: Number | None = None


class Example(_Part):
    """An example: a command and its output."""

    command: Line
    expected: Lines = ""


class Requirements(_Part):
    """Requirements of a model: the plugin's distribution, and the oldest condgen version that can use the entry."""

    plugin: Annotated[str, Field(pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$", max_length=100)] = ""
    condgen: Annotated[str, Field(pattern=r"^[0-9]{1,6}(\.[0-9]{1,6}){0,3}$")] = "0"


class Entry(_Part):
    """A model.

    Args:
        id: name of the model.
        aliases: other names.
        decoding: default settings of decoding, fields of ``condgen_cli.running.decoding.Decoding``.
        card: path of the card, Markdown, relative to the manifest.
        recipe: the file of the recipe that made the model (``condgen_cli.zoo.recipes``); the model runs without it.
    """

    id: Name
    aliases: Annotated[tuple[Name, ...], Field(max_length=MOST_ALIASES), FailFast()] = ()
    task: Registered
    description: Line
    licence: Line
    revision: Line
    architecture: Architecture
    decoding: dict[str, JsonValue] = {}
    files: Parts[File] = ()
    card: RelativePath | None = None
    recipe: File | None = None
    data: Parts[TrainingData] = ()
    training: Training = Training()
    results: Parts[Result] = ()
    references: Parts[Reference] = ()
    example: Example | None = None
    requires: Requirements = Requirements()

    @property
    def names(self) -> tuple[str, ...]:
        return (self.id, *self.aliases)

    @property
    def all_files(self) -> tuple[File, ...]:
        """The model's files, and its recipe."""
        return self.files if self.recipe is None else (*self.files, self.recipe)

    @property
    def size(self) -> int:
        """Bytes of the model's files."""
        return sum(file.size for file in self.files)

    @model_validator(mode="after")
    def _distinct_paths(self) -> Entry:
        # ignoring case: otherwise two files would be one on macOS and Windows
        if twice := _find_repeated([file.path.casefold() for file in self.files]):
            raise ValueError(f"two files named {twice}")
        paths = {PurePosixPath(file.path.casefold()) for file in self.files}
        if any(parent in paths for path in paths for parent in path.parents):
            raise ValueError("a file's path is another file's folder")
        return self


class Manifest(_Part):
    """The content of ``manifest.json``."""

    # ``schema`` itself is a method of pydantic's models
    version: Annotated[int, Field(alias="schema", ge=1, le=SCHEMA)]
    entries: Annotated[tuple[Entry, ...], Field(max_length=MOST_MODELS), FailFast()] = ()

    @model_validator(mode="after")
    def _distinct_names(self) -> Manifest:
        names = [name for entry in self.entries for name in entry.names]
        if len(names) > MOST_NAMES:
            raise ValueError(f"entries: more than {MOST_NAMES} names")
        if twice := _find_repeated(names):
            raise ValueError(f"two models named {twice}")
        return self


def _find_repeated(names: list[str]) -> str:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return ""


def is_web_page(data: bytes) -> bool:
    """Whether the data are HTML, which a network with a login page sends instead of the file."""
    return data.removeprefix(_BOM).lstrip()[:1] == b"<"


def parse_manifest(data: bytes, source: str) -> Manifest:
    """Parse a manifest.

    Args:
        data: content of ``manifest.json``.
        source: name of the manifest in errors.
    Raises:
        IntegrityError: if the manifest is malformed, or its schema is newer than this condgen reads.
    """
    data = data.removeprefix(_BOM)
    version = _schema_of(data, source)
    if version > SCHEMA:
        message = f"manifest {source} has schema {version}, newer than the {SCHEMA} that this condgen reads"
        raise IntegrityError(message, "pip install --upgrade condgen")
    try:
        return Manifest.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise IntegrityError(f"manifest {source}: {_shorten(validation_message(error))}") from None


def _shorten(message: str, longest: int = 300) -> str:
    """A message without its middle if it is long, since it may quote the manifest."""
    return message if len(message) <= longest else f"{message[: longest // 2]} … {message[-longest // 2 :]}"


def _schema_of(data: bytes, source: str) -> int:
    if is_web_page(data):
        raise IntegrityError(
            f"{source} is a web page, not a manifest", "check the address, and whether the network wants a login"
        )
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise IntegrityError(f"manifest {source} is UTF-16, not UTF-8")
    try:
        document: Any = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise IntegrityError(f"manifest {source} is not JSON: {error}") from None
    version = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise IntegrityError(f"manifest {source} has no schema number: not a manifest of condgen")
    if _is_crowded(document):
        raise IntegrityError(f"manifest {source}: more than {MOST_FIELDS} fields in one part of it")
    return version


def _is_crowded(part: Any) -> bool:
    """Whether an object, or one within it, has more fields than any valid one: each would give an error."""
    if isinstance(part, list):
        return any(map(_is_crowded, part))
    if not isinstance(part, dict):
        return False
    return len(part) > MOST_FIELDS or any(_is_crowded(part[name]) for name in part if name not in ("config", "decoding"))
