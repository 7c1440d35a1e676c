"""Publish a training run in a zoo: ``python -m condgen_cli.zoo.publish RUN_DIR --id sat --zoo zoo/``."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict, ValidationError

from condgen_cli.errors import CondgenError, IntegrityError, NotFoundError, UsageError
from condgen_cli.files import write_atomically
from condgen_cli.files.inputs import forget_inputs, protect
from condgen_cli.files.names import protocol_of
from condgen_cli.files.safetensors_header import read_header
from condgen_cli.files.validation import validation_message
from condgen_cli.files.weights import SCALE, load_weights, quantize_to_8_bits
from condgen_cli.terminal import console
from condgen_cli.zoo.manifest import (
    SCHEMA,
    Architecture,
    Entry,
    Manifest,
    RelativePath,
    parse_manifest,
)
from condgen_cli.zoo.recipes import TrainingRecipe, parse_training_recipe, recipe_of_run

__all__ = ["Run", "publish", "read_manifest", "read_recipe", "set_graphs"]

WEIGHTS = "weights"
"""The zoo's folder of model files."""
RECIPES = "recipes"
"""The zoo's folder of recipes, ``NAME.json``."""
GRAPHS = "graphs"
"""The zoo's folder of graphs, ``NAME-PIECE-HASH.onnx``."""
_GRAPH = ".onnx"


class Run(BaseModel):
    """The ``model.json`` of a training run."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    task: str
    architecture: Architecture
    decoding: dict[str, Any] = {}
    files: tuple[RelativePath, ...]


def publish(
    run_dir: Path,
    name: str,
    zoo: Path,
    *,
    aliases: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
    bits: int = 32,
) -> Entry:
    """Copy a run's files to ``zoo/weights`` and write its entry into ``zoo/manifest.json``.

    Task, architecture, decoding, files, recipe and revision of the entry come from the run. The other fields of an existing
    entry are kept unless ``metadata`` replaces them. Entries share files with the same hash; files that no entry uses any more
    are deleted.

    If the architecture can be run by graphs, these are made of the weights as they are published, compared with the model on
    dev items of its data, and go to ``zoo/graphs``.

    The run's recipe goes to ``zoo/recipes``. If the run started from other runs, or from the published model of this name,
    their stages are put before its own.

    Args:
        run_dir: folder of the run, with ``model.json`` and the files that it lists.
        name: id of the entry.
        zoo: folder of the zoo, which is created if needed.
        aliases: additional aliases.
        metadata: fields of ``Entry``, such as ``description`` and ``licence``.
        bits: bits per weight: 32 as trained, 16, or 8 for large matrices and 16 for the rest.
    Returns:
        The new entry.
    Raises:
        NotFoundError: if the run or one of its files does not exist.
        IntegrityError: if the run or the manifest is malformed.
        UsageError: if a required field is missing, a name is taken, or ``bits`` is another number.
        CondgenError: if the model's graphs compute something else than the model.
    """
    if bits not in (8, 16, 32):
        raise UsageError(f"weights can't be stored in {bits} bits", "8, 16 or 32")
    run = _read_run(run_dir)
    manifest = read_manifest(zoo)
    known = {file.sha256: file.urls for entry in manifest.entries if entry.id != name for file in entry.files}
    contents = {path: _content(run_dir / path, bits) for path in run.files}
    recipe = _training_recipe(run_dir, manifest, name, zoo)
    contents |= _make_graphs(run, contents, recipe, name)
    files = [_file(path, content, known, name) for path, content in contents.items()]
    entry = _entry(manifest, name, run, files, aliases, metadata or {}, recipe)
    updated = _with_entry(manifest, entry)
    for file in entry.files:
        if file.sha256 not in known:
            write_atomically(zoo / file.urls[0], contents[file.path])
    if entry.recipe and recipe is not None:
        write_atomically(zoo / entry.recipe.urls[0], recipe)
    _write_manifest(zoo, updated)
    _remove_unused(zoo, manifest, updated)
    return entry


def set_graphs(zoo: Path, name: str, graphs: Mapping[str, bytes]) -> Entry:
    """Replace the graphs of a published model.

    Args:
        zoo: folder of the zoo.
        name: id of the entry.
        graphs: the graphs by file name.
    Raises:
        NotFoundError: if there is no such entry.
        IntegrityError: if the manifest is malformed.
    """
    manifest = read_manifest(zoo)
    former = next((entry for entry in manifest.entries if entry.id == name), None)
    if former is None:
        raise NotFoundError(f"{zoo} has no model {name}")
    fields = former.model_dump(mode="json", exclude_defaults=True)
    kept = [file for file in fields.get("files", []) if not file["path"].endswith(_GRAPH)]
    fields["files"] = [*kept, *(_file(path, content, {}, name) for path, content in graphs.items())]
    entry: Entry = _validate(Entry, fields, f"entry {name}")
    updated = _with_entry(manifest, entry)
    for file in entry.files:
        if file.path in graphs:
            write_atomically(zoo / file.urls[0], graphs[file.path])
    _write_manifest(zoo, updated)
    _remove_unused(zoo, manifest, updated)
    return entry


def read_recipe(zoo: Path, entry: Entry) -> TrainingRecipe | None:
    """The recipe of a published model; None if the zoo has none.

    Raises:
        IntegrityError: if it is malformed.
    """
    if entry.recipe is None:
        return None
    path = zoo / entry.recipe.urls[0]
    return parse_training_recipe(path.read_bytes(), str(path))


def _make_graphs(run: Run, contents: Mapping[str, bytes], recipe: bytes | None, name: str) -> dict[str, bytes]:
    """The graphs of a run whose files have these contents, compared with the model; none if its architecture has none."""
    from condgen_cli.registry.plugins import manager

    spec = manager().models.get(run.architecture.name)
    if spec is None or not spec.graphs:
        return {}
    # the one place where the zoo looks up to those who run models
    from condgen_cli.export.models import compared_graphs, dev_items
    from condgen_cli.running.bundle import Bundle

    architecture = run.architecture
    with tempfile.TemporaryDirectory() as folder:
        files = {path: Path(folder) / path for path in contents}
        for path, file in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(contents[path])
        bundle = Bundle(name, run.task, architecture.name, architecture.config, run.decoding, files)
        stage = parse_training_recipe(recipe, "the run's recipe").stages[-1] if recipe else None
        graphs, difference = compared_graphs(bundle, dev_items(stage))
    console.info(f"graphs: {difference}")
    return graphs


def _read_run(run_dir: Path) -> Run:
    path = run_dir / "model.json"
    protect(path)
    try:
        return Run.model_validate_json(path.read_bytes())
    except OSError:
        raise NotFoundError(f"{run_dir} is not a training run: it holds no model.json") from None
    except ValidationError as error:
        raise IntegrityError(f"{path}: {validation_message(error)}") from None


def read_manifest(zoo: Path) -> Manifest:
    """The manifest of a zoo's folder; an empty one if it has none.

    Raises:
        IntegrityError: if it is malformed.
    """
    path = zoo / "manifest.json"
    return parse_manifest(path.read_bytes(), str(path)) if path.exists() else Manifest.model_validate({"schema": SCHEMA})


def _content(path: Path, bits: int) -> bytes:
    if not path.is_file():
        raise NotFoundError(f"{path} does not exist")
    protect(path)
    if path.suffix == ".safetensors":
        read_header(path)
        load_weights(path)  # refuses weights that are not finite
        if bits < 32:
            return _reduce_precision(path, bits)
    return path.read_bytes()


def _reduce_precision(path: Path, bits: int) -> bytes:
    """The content of the file with 32-bit floats stored in 16 or 8 bits, and everything else unchanged."""
    import numpy as np
    from safetensors.numpy import load_file, save

    def halve(name: str, value: Any) -> Any:
        if value.dtype != np.float32:
            return value
        with np.errstate(over="ignore"):
            half = value.astype(np.float16)
        if not np.isfinite(half).all():
            raise IntegrityError(f"{path.name}: {name} has values that don't fit into 16 bits", "publish it with --bits 32")
        return half

    weights = load_file(path)
    if bits == 8:
        weights = quantize_to_8_bits(weights)
    kept = [name for name in weights if name.endswith(SCALE)]
    return save({name: value if name in kept else halve(name, value) for name, value in weights.items()})


def _training_recipe(run_dir: Path, manifest: Manifest, name: str, zoo: Path) -> bytes | None:
    """The recipe of the run, with those of earlier runs; None if it has none."""
    recipe = recipe_of_run(run_dir)
    if recipe is None:
        return None
    former = next((entry for entry in manifest.entries if entry.id == name), None)
    if former and former.recipe and recipe.stages[0].get("init") in former.names:
        # the run replaces its initial model, so that the name would refer to another model
        path = zoo / former.recipe.urls[0]
        recipe = recipe.prepend(parse_training_recipe(path.read_bytes(), str(path)))
    return recipe.to_json().encode()


def _file(path: str, content: bytes, known: Mapping[str, tuple[str, ...]], name: str) -> dict[str, Any]:
    """The fields of a ``File``, which are validated together with the entry."""
    digest = hashlib.sha256(content).hexdigest()
    stem, suffix = Path(path).stem, Path(path).suffix
    place = f"{GRAPHS}/{name}-{stem}" if suffix == _GRAPH else f"{WEIGHTS}/{name}"
    urls = known.get(digest, (f"{place}-{digest[:8]}{suffix}",))
    return {"path": path, "urls": list(urls), "size": len(content), "sha256": digest}


def _entry(
    manifest: Manifest,
    name: str,
    run: Run,
    files: Sequence[Mapping[str, Any]],
    aliases: Sequence[str],
    metadata: Mapping[str, Any],
    recipe: bytes | None,
) -> Entry:
    written = next((entry for entry in manifest.entries if entry.id == name), None)
    fields = written.model_dump(mode="json", exclude_defaults=True) if written else {}
    fields |= metadata
    fields |= run.model_dump(mode="json", exclude={"files"})
    fields |= {"id": name, "files": files, "revision": _revision(files)}
    fields["recipe"] = recipe and {
        "path": "recipe.json",
        "urls": [f"{RECIPES}/{name}.json"],
        "size": len(recipe),
        "sha256": hashlib.sha256(recipe).hexdigest(),
    }
    fields["aliases"] = list(dict.fromkeys([*fields.get("aliases", []), *aliases]))
    return _validate(Entry, fields, f"entry {name}")


def _validate(model: Any, fields: Mapping[str, Any], what: str) -> Any:
    try:
        # through JSON: this makes sure that the written manifest can be read
        return model.model_validate_json(json.dumps(fields), strict=True)
    except (ValidationError, TypeError) as error:
        message = validation_message(error) if isinstance(error, ValidationError) else str(error)
        raise UsageError(f"{what}: {message}", "add missing fields with --metadata FILE.toml") from None


def _revision(files: Sequence[Mapping[str, Any]]) -> str:
    """Eight hexadecimal digits of a hash over all files but graphs, which say in another form what these do."""
    lines = [f"{file['path']}\n{file['sha256']}\n" for file in files if not file["path"].endswith(_GRAPH)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:8]


def _with_entry(manifest: Manifest, entry: Entry) -> Manifest:
    entries = [entry if other.id == entry.id else other for other in manifest.entries]
    if entry not in entries:
        entries.append(entry)
    document = {"schema": SCHEMA, "entries": [other.model_dump(mode="json") for other in entries]}
    updated: Manifest = _validate(Manifest, document, "the manifest")
    return updated


def _write_manifest(zoo: Path, manifest: Manifest) -> None:
    entries = [entry.model_dump(mode="json", exclude_defaults=True) for entry in manifest.entries]
    text = json.dumps({"schema": manifest.version, "entries": entries}, indent=2, ensure_ascii=False)
    write_atomically(zoo / "manifest.json", f"{text}\n".encode())


def _remove_unused(zoo: Path, before: Manifest, after: Manifest) -> None:
    for url in _local_urls(before) - _local_urls(after):
        if url.startswith((f"{WEIGHTS}/", f"{RECIPES}/", f"{GRAPHS}/")):
            (zoo / url).unlink(missing_ok=True)


def _local_urls(manifest: Manifest) -> set[str]:
    return {url for entry in manifest.entries for file in entry.all_files for url in file.urls if not protocol_of(url)}


def _command(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A training run: a folder with model.json.")],
    name: Annotated[str, typer.Option("--id", metavar="NAME", help="The model's name in the zoo.")],
    zoo: Annotated[Path, typer.Option("--zoo", metavar="DIR", help="The zoo's folder.")],
    alias: Annotated[list[str] | None, typer.Option("--alias", metavar="NAME", help="Another name; repeatable.")] = None,
    metadata: Annotated[Path | None, typer.Option("--metadata", metavar="FILE", help="TOML with fields of the entry.")] = None,
    bits: Annotated[int, typer.Option("--bits", min=8, max=32, metavar="8|16|32", help="Bits per weight.")] = 32,
) -> None:
    """Publish a training run in a zoo."""
    forget_inputs()
    if metadata is not None:
        protect(metadata)
    try:
        fields = tomllib.loads(metadata.read_text(encoding="utf-8")) if metadata else {}
        entry = publish(run_dir, name, zoo, aliases=alias or (), metadata=fields, bits=bits)
    except (OSError, tomllib.TOMLDecodeError) as error:
        console.fail(UsageError(f"{metadata or zoo}: {error}"))
        sys.exit(UsageError.exit_code)
    except CondgenError as error:
        console.fail(error)
        sys.exit(error.exit_code)
    print(f"{entry.id} {entry.revision}")
    for file in entry.files:
        print(f"{file.path} {file.size} {file.urls[0]}")


if __name__ == "__main__":
    typer.run(_command)
