"""Models of the Hugging Face Hub, and local folders of the same layout. Nothing heavy is imported here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from condgen_cli.errors import IntegrityError, NetworkError, NotFoundError, PluginError, UsageError, reason_of
from condgen_cli.registry.plugins import manager
from condgen_cli.zoo.elsewhere import FoundModel, ModelSource, Resolved
from condgen_transformers import PREFIX
from condgen_transformers.generation import decoding_settings

__all__ = ["MODEL_NAME", "HubSource", "read_json", "translate_errors"]

RUN_FILE = "model.json"
"""The file in which condgen describes a model of its own."""
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

MODEL_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
"""A repository of the Hub."""
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_PICKLES = re.compile(r".*\.(bin|pt|pth|ckpt|msgpack|h5|pkl)", re.IGNORECASE)
_SETTINGS = frozenset(
    {
        "README.md",
        "added_tokens.json",
        "config.json",
        "generation_config.json",
        "merges.txt",
        "normalizer.json",
        "preprocessor_config.json",
        "processor_config.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
        "vocab.txt",
    }
)
_PIECES = re.compile(r".*\.(spm|model)")
"""Models of SentencePiece, which are protocol buffers."""

_CONVERTER = (
    "https://huggingface.co/spaces/safetensors/convert opens a pull request with safetensors;"
    " its revision then runs: -m hf:ORG/NAME@refs/pr/NUMBER"
)


class HubSource(ModelSource):
    """Models whose files are those that ``save_pretrained`` of transformers writes. Only safetensors are read."""

    def select(self, files: Sequence[str]) -> list[str]:
        """Configuration, vocabularies, model card, and weights in safetensors; code and pickles are never read.

        Raises:
            UsageError: if the weights are not in safetensors.
            NotFoundError: if there is no ``config.json``.
        """
        names = [name for name in files if "/" not in name]
        if RUN_FILE in names:  # a model that condgen published
            kept = [name for name in names if name.endswith((".json", ".safetensors")) or name == "README.md"]
            return sorted(kept, key=lambda name: name.endswith(".safetensors"))
        if "config.json" not in names:
            raise NotFoundError("this is no model of transformers: it has no config.json", "condgen list")
        weights = [WEIGHTS] if WEIGHTS in names else [name for name in names if name == INDEX or _SHARD.fullmatch(name)]
        if not weights:
            pickled = [name for name in names if _PICKLES.fullmatch(name)]
            what = f"only {pickled[0]}, which can run code when it is opened" if pickled else "no weights"
            raise UsageError(f"this model has {what}: condgen reads safetensors", _CONVERTER)
        small = [name for name in names if name in _SETTINGS or _PIECES.fullmatch(name)]
        return [*small, *weights]

    def describe(self, files: Mapping[str, Path]) -> FoundModel:
        """Task and architecture by ``config.json``'s model type, decoding by ``generation_config.json``.

        Raises:
            IntegrityError: if one of them is malformed.
            UsageError: if no plugin registers the model type.
        """
        if RUN_FILE in files:
            return _describe_own(read_json(files[RUN_FILE]), files)
        config = read_json(files["config.json"])
        generation = read_json(files["generation_config.json"]) if "generation_config.json" in files else config
        family = str(config.get("model_type", ""))
        spec = manager().models.get(PREFIX + family)
        if spec is None:
            known = ", ".join(sorted(name.removeprefix(PREFIX) for name in manager().models if name.startswith(PREFIX)))
            raise UsageError(
                f"no plugin runs models of the type {family!r} of transformers; known: {known}",
                "docs/hugging-face.md shows how to write a family in 40 lines",
            )
        return FoundModel(
            spec.task,
            spec.name,
            {"options": {}},
            decoding_settings(config, generation),
            f"{family} of Hugging Face transformers",
            _licence(files.get("README.md")),
        )

    def resolve(self, model: str) -> Resolved:
        """The commit that ``ORG/NAME[@REVISION]`` means at present, with the names of its files.

        Raises:
            NotFoundError: if there is no such model or revision, or it needs a token.
            NetworkError: if the Hub can't be reached.
        """
        from huggingface_hub import HfApi

        name, _, revision = model.partition("@")
        if not MODEL_NAME.fullmatch(name):
            raise UsageError(f"{name!r} is no name of a model of the Hub", "hf:ORG/NAME")
        info = translate_errors(model, lambda: HfApi().model_info(name, revision=revision or None))
        return Resolved(name, str(info.sha), tuple(one.rfilename for one in info.siblings or ()))

    def fetch(self, model: Resolved, file: str, again: bool = False) -> Path:
        """A file in huggingface_hub's own cache, downloaded unless it is there. Errors are those of ``resolve``."""
        from huggingface_hub import hf_hub_download

        def download() -> str:
            return hf_hub_download(model.model, file, revision=model.revision, force_download=again)

        return Path(translate_errors(model.model, download))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        IntegrityError: if the file isn't one.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{path} can't be read: {reason_of(error)}") from None
    if not isinstance(document, dict):
        raise IntegrityError(f"{path} is not a JSON object")
    return document


def _describe_own(run: Mapping[str, Any], files: Mapping[str, Path]) -> FoundModel:
    """A model that ``condgen publish`` wrote."""
    try:
        architecture = run["architecture"]
        return FoundModel(
            str(run["task"]),
            str(architecture["name"]),
            dict(architecture["config"]),
            dict(run.get("decoding", {})),
            str(run.get("description", "a model of condgen")),
            _licence(files.get("README.md")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{RUN_FILE} is not a model's description: {reason_of(error)}") from None


def _licence(card: Path | None) -> str:
    """The licence that the head of a model card states."""
    if card is None:
        return ""
    with card.open(encoding="utf-8", errors="replace") as file:
        head = file.read(20_000)
    found = re.search(r"\A---\s*\n(?:.*\n)*?license:[ \t]*([\w.-]+)", head)
    return found[1] if found else ""


def translate_errors(model: str, action: Any) -> Any:
    """``action()``, with huggingface_hub's errors as condgen's."""
    try:
        from huggingface_hub import errors
        from huggingface_hub.utils import httpx  # type: ignore[attr-defined]
    except ImportError as error:
        raise PluginError(f"models of the Hub need huggingface_hub: {error}", "pip install 'condgen[hf]'") from None
    try:
        return action()
    except errors.GatedRepoError:
        raise NotFoundError(f"hf:{model} has to be asked for at its page on the Hub", "hf auth login") from None
    except errors.RevisionNotFoundError:
        raise NotFoundError(f"hf:{model}: there is no such revision") from None
    except errors.RepositoryNotFoundError:
        raise NotFoundError(f"the Hub has no model {model}, or it needs a token", "hf auth login") from None
    except errors.EntryNotFoundError as error:
        raise NotFoundError(f"hf:{model}: {reason_of(error)}") from None
    except (errors.HfHubHTTPError, errors.OfflineModeIsEnabled, httpx.HTTPError, OSError) as error:
        raise NetworkError(f"hf:{model} can't be downloaded: {reason_of(error)[:200]}", "try again later") from None
