"""Attention as a file, in the format of its suffix."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from condgen_cli.errors import UsageError
from condgen_cli.files import check_output, write_whole
from condgen_cli.generation import Generation
from condgen_cli.render.panels import panels

__all__ = ["FORMATS", "as_json", "save_attention"]


def save_attention(path: str | Path, generation: Generation, title: str) -> None:
    """See ``condgen_cli.render.save_attention``."""
    path = Path(path)
    write = FORMATS.get(path.suffix.lower())
    if write is None:
        raise UsageError(f"can't save attention as {path.name!r}", f"use a name that ends in {', '.join(FORMATS)}")
    check_output(path)
    if not panels(generation):
        raise UsageError("there is no attention to save: this model has no map", "condgen list")
    write_whole(path, write(generation, title))


def as_json(generation: Generation, title: str) -> dict[str, Any]:
    """A generation as for ``--format json``, with the log-probabilities of the steps and the model's extras."""
    from condgen_cli.render.tape import as_arrays

    tape = {name: np.round(array.astype(np.float64), 4).tolist() for name, array in as_arrays(generation).items()}
    return {
        "input": title,
        "output": generation.output,
        "score": _finite(generation.score),
        "tokens": list(generation.tokens),
        "log_probs": [_finite(value) for value in generation.log_probs],
        "extras": {name: [_finite(value) for value in values] for name, values in generation.extras.items()},
        "attention": {name: map.as_json() for name, map in generation.attention.items()},
        **({"tape": tape} if tape else {}),
    }


def _finite(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None


def _json(generation: Generation, title: str) -> bytes:
    return (json.dumps(as_json(generation, title), ensure_ascii=False, default=str) + "\n").encode("utf-8", "replace")


def _npz(generation: Generation, title: str) -> bytes:
    """Arrays ``weights/NAME``, ``extras/NAME``, ``tokens``, ``log_probs``, ``tape/NAME`` for a tape, and ``axes``, a JSON text.
    Nothing is pickled."""
    from condgen_cli.render.tape import as_arrays

    axes = {name: map.as_json()["axes"] for name, map in generation.attention.items()}
    arrays: dict[str, Any] = {f"weights/{name}": map.weights for name, map in generation.attention.items()}
    arrays |= {f"extras/{name}": np.asarray(values) for name, values in generation.extras.items()}
    arrays |= {"log_probs": np.asarray(generation.log_probs), "tokens": np.array(generation.tokens, dtype=np.str_)}
    arrays |= {"axes": np.array(json.dumps(axes)), "input": np.array(title), "output": np.array(str(generation.output))}
    arrays |= {f"tape/{name}": array for name, array in as_arrays(generation).items()}
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _txt(generation: Generation, title: str) -> bytes:
    from condgen_cli.render.text import attention_text

    parts = [title, str(generation.output), "", attention_text(generation, width=100, color=False), ""]
    return "\n".join(parts).encode("utf-8", "replace")


def _png(generation: Generation, title: str) -> bytes:
    from condgen_cli.render.figure import figure

    buffer = BytesIO()
    figure(generation, title).save(buffer, "PNG")
    return buffer.getvalue()


def _html(generation: Generation, title: str) -> bytes:
    from condgen_cli.render.page import page

    return page(generation, title).encode("utf-8", "replace")


FORMATS: dict[str, Callable[[Generation, str], bytes]] = {
    ".txt": _txt,
    ".png": _png,
    ".html": _html,
    ".json": _json,
    ".npz": _npz,
}
