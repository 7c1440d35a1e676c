"""Loading a model and its tokenizer with transformers: from verified files, safetensors only, without code of others."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from condgen_cli.errors import CondgenError, IntegrityError, PluginError
from condgen_cli.registry.guard import describe_error

__all__ = ["folder_of", "load_network", "load_tool"]


@contextmanager
def folder_of(files: Mapping[str, Path]) -> Iterator[Path]:
    """A folder in which the files have their names, for libraries that read folders; files of the store are named by hash.

    Only these files are in it: pickles or code beside them can't be read.
    """
    with tempfile.TemporaryDirectory(prefix="condgen-") as name:
        for file, path in files.items():
            target = Path(name, file)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.symlink(path.resolve(), target)
            except OSError:  # as on Windows without the right to make links
                shutil.copyfile(path, target)
        yield Path(name)


def quiet() -> None:
    """Keep transformers' bars and advice off the terminal."""
    from transformers.utils import logging as reports

    reports.disable_progress_bar()
    reports.set_verbosity(logging.CRITICAL)


def load_network(kind: str, folder: Path, attention: str) -> Any:
    """A network of the class ``kind`` of transformers, in 32-bit floats and evaluation mode.

    Args:
        kind: name of the class.
        folder: a folder as ``folder_of`` makes.
        attention: name of the attention function.
    Raises:
        PluginError: if transformers is missing or too old.
        IntegrityError: if weights are missing, of another shape, or no finite numbers.
    """
    import torch

    transformers = import_transformers()
    quiet()
    try:
        network, report = getattr(transformers, kind).from_pretrained(
            folder,
            dtype=torch.float32,
            attn_implementation=attention,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except CondgenError:
        raise
    except Exception as error:
        raise IntegrityError(f"transformers can't load the model: {describe_error(error)[:300]}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise IntegrityError(f"the weights lack {len(missing)} tensors that the model needs, such as {missing[0]}")
    for name, weight in network.named_parameters():
        if not bool(weight.isfinite().all()):
            raise IntegrityError(f"the weights are damaged: {name} holds a value that is no finite number")
    return network.eval()


def load_tool(kind: str, folder: Path, **options: Any) -> Any:
    """A tokenizer, image processor or feature extractor of the class ``kind`` of transformers.

    Raises:
        IntegrityError: if its files are missing or malformed.
        PluginError: if it needs a further package.
    """
    transformers = import_transformers()
    quiet()
    try:
        return getattr(transformers, kind).from_pretrained(folder, trust_remote_code=False, local_files_only=True, **options)
    except ImportError as error:
        raise PluginError(f"the tokenizer of this model needs another package: {describe_error(error)[:200]}") from error
    except Exception as error:
        raise IntegrityError(f"transformers can't load the {kind}: {describe_error(error)[:300]}") from error


def import_transformers() -> Any:
    """The package transformers.

    Raises:
        PluginError: if it isn't installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise PluginError(f"models of Hugging Face need transformers: {error}", "pip install 'condgen[hf]'") from None
    return transformers
