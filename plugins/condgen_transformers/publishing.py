"""``condgen publish``: a model of condgen as a repository of the Hugging Face Hub, or a folder of the same content."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from condgen_cli.errors import InputError, UsageError
from condgen_transformers import PREFIX, SCHEME

if TYPE_CHECKING:
    from condgen_cli.running.bundle import Bundle
    from condgen_cli.zoo import Entry

__all__ = ["Publication", "make_publication", "publish"]

MODEL_FILE, RECIPE_FILE, CARD_FILE = "model.json", "recipe.json", "README.md"

_PIPELINES = {
    "caption": "image-to-text",
    "transcribe": "automatic-speech-recognition",
    "translate": "translation",
    "generate": "text-generation",
    "chat": "text-generation",
    "qa": "question-answering",
}
"""The Hub's names of tasks."""
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")


def publish(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of the zoo, or a training run's folder.")],
    target: Annotated[str, typer.Argument(metavar="hf:ORG/NAME|FOLDER", help="A repository of the Hub, or a new folder.")],
    licence: Annotated[
        str | None, typer.Option("--licence", metavar="ID", help="Licence of the weights.  [default: that of the zoo's card]")
    ] = None,
) -> None:
    """Publish a model: weights, recipe and card in a repository of the Hugging Face Hub, or in a folder."""
    from condgen_cli.terminal import console

    publication = make_publication(model, licence)
    if target.startswith(f"{SCHEME}:"):
        from condgen_transformers.upload import upload

        console.info(f"{target}: {upload(publication, target.removeprefix(f'{SCHEME}:'))}")
        print(f"condgen {publication.task} -m {target}")
        return
    folder = Path(target)
    _write(publication, folder)
    print(f"condgen {publication.task} -m {folder}")


@dataclass(frozen=True)
class Publication:
    """What is published.

    Args:
        name: name of the model.
        task: name of its task.
        files: contents by name.
    """

    name: str
    task: str
    files: Mapping[str, bytes]


def make_publication(model: str, licence: str | None = None) -> Publication:
    """The files of a model as a repository holds them.

    Args:
        model: a model of the zoo, or the folder of a training run.
        licence: licence of the weights; None: that of the zoo's entry.
    Raises:
        NotFoundError, IntegrityError: if the model can't be read.
        UsageError: if no licence is known, or the model came from the Hub.
    """
    from condgen_cli.running.bundle import find_bundle

    bundle = find_bundle(model)
    if bundle.architecture.startswith(PREFIX):
        raise UsageError(f"{model} is a model of transformers already", None)
    named = licence or (bundle.entry.licence if bundle.entry else "")
    if not named:
        raise UsageError(f"{model} has no licence", f"condgen publish {model} … --licence apache-2.0")
    recipe, body = _recipe(bundle), _card_text(bundle)
    description = bundle.entry.description if bundle.entry else f"a model for {bundle.task}, trained with condgen"
    files: dict[str, bytes] = {}
    for name, path in bundle.files.items():
        files[name] = _with_metadata(path, bundle) if name.endswith(".safetensors") else path.read_bytes()
    document = {
        "description": description,
        "task": bundle.task,
        "architecture": {"name": bundle.architecture, "config": dict(bundle.config)},
        "decoding": dict(bundle.decoding),
        "files": sorted(files),
    }
    files[MODEL_FILE] = _json(document)
    if recipe is not None:
        files[RECIPE_FILE] = recipe
    head = _card_head(bundle, named, recipe)
    usage = f"```\npip install condgen\ncondgen {bundle.task} -m hf:ORG/NAME\n```"
    text = body or f"# {bundle.name}\n\n{description}\n"
    files[CARD_FILE] = f"---\n{head}---\n\n{text.rstrip()}\n\n## Use\n\n{usage}\n".encode()
    return Publication(bundle.name, bundle.task, files)


def _with_metadata(path: Path, bundle: Bundle) -> bytes:
    """The safetensors file with metadata that say whose weights they are."""
    from safetensors.torch import load_file, save

    import condgen_cli

    metadata = {"format": "pt", "library": "condgen", "version": condgen_cli.__version__}
    return save(load_file(path), {**metadata, "model": bundle.name, "architecture": bundle.architecture})


def _recipe(bundle: Bundle) -> bytes | None:
    """The resolved recipe of the training; None if it isn't known."""
    from condgen_cli.zoo import open_zoo
    from condgen_cli.zoo.recipes import recipe_of_run

    if bundle.entry is not None:
        return open_zoo().recipe(bundle.entry).to_json().encode() if bundle.entry.recipe else None
    folder = next(iter(bundle.files.values())).parent
    recipe = recipe_of_run(folder)
    return None if recipe is None else recipe.to_json().encode()


def _card_text(bundle: Bundle) -> str:
    from condgen_cli.zoo import open_zoo

    return "" if bundle.entry is None else open_zoo().card(bundle.entry)


def _card_head(bundle: Bundle, licence: str, recipe: bytes | None) -> str:
    """The card's metadata in YAML, as the Hub reads them."""
    import yaml

    known = licence.lower()
    named = {"license": known} if _LICENCE.fullmatch(known) else {"license": "other", "license_name": licence}
    fields: dict[str, Any] = {
        **named,
        "library_name": "condgen",
        "pipeline_tag": _PIPELINES.get(bundle.task, "other"),
        "tags": ["condgen", "attention", bundle.task],
    }
    datasets, languages = _data(bundle, recipe)
    if languages:
        fields["language"] = languages
    if datasets:
        fields["datasets"] = datasets
    if bundle.entry is not None and bundle.entry.results:
        fields["model-index"] = [{"name": bundle.name, "results": _results(bundle.entry, fields["pipeline_tag"])}]
    return str(yaml.safe_dump(fields, sort_keys=False, allow_unicode=True))


def _data(bundle: Bundle, recipe: bytes | None) -> tuple[list[str], list[str]]:
    """The names of the data sets, and the languages of their references."""
    from condgen_cli.data.store import target_language
    from condgen_cli.registry.plugins import manager

    used: dict[str, Mapping[str, str]] = {}
    if bundle.entry is not None:
        used |= {result.dataset: {} for result in bundle.entry.results}
    if recipe is not None:
        for stage in json.loads(recipe).get("stages", []):
            data = stage.get("data", {})
            used |= {str(data["dataset"]): data.get("options", {})} if "dataset" in data else {}
    known = {name: (manager().datasets[name], options) for name, options in used.items() if name in manager().datasets}
    languages = [target_language(spec, options) for spec, options in known.values()]
    return list(used), list(dict.fromkeys(filter(None, languages)))


def _results(entry: Entry, task: str) -> list[dict[str, Any]]:
    return [
        {
            "task": {"type": task},
            "dataset": {"type": result.dataset, "name": result.dataset, "split": result.split},
            "metrics": [
                {
                    "type": result.metric,
                    "value": result.value,
                    "args": {
                        **({"interval_95": list(result.interval)} if result.interval else {}),
                        **({"n": result.n} if result.n is not None else {}),
                        **({"signature": result.signature} if result.signature else {}),
                    },
                }
            ],
        }
        for result in entry.results
    ]


def _write(publication: Publication, folder: Path) -> None:
    """Write the files into a new folder, or over an earlier publication.

    Raises:
        InputError: if the folder holds something else.
    """
    from condgen_cli.files import write_atomically

    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MODEL_FILE).is_file())):
        raise InputError(f"{folder} is there already, and is no model that was published", "name a new folder")
    for name, content in publication.files.items():
        write_atomically(folder / name, content)


def _json(document: Any) -> bytes:
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()
