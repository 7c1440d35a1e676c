"""What computes a model: torch, on any device, or ONNX Runtime, on the CPU."""

from __future__ import annotations

import importlib.util
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from condgen_cli.errors import UsageError

if TYPE_CHECKING:
    from condgen_cli.running.bundle import Bundle

__all__ = ["GRAPHS", "Backend", "choose_backend", "default_backend", "require_torch"]

GRAPHS = (".onnx",)
"""Suffixes of the files that hold graphs."""


class Backend(StrEnum):
    """What computes a model; ``auto`` is ``onnx`` on a CPU for a model that has graphs, otherwise ``torch``."""

    auto = "auto"
    onnx = "onnx"
    torch = "torch"


def default_backend() -> Backend:
    """The backend that ``CONDGEN_BACKEND`` names; ``auto`` if it is not set.

    Raises:
        UsageError: if it names none.
    """
    value = os.environ.get("CONDGEN_BACKEND", "") or Backend.auto
    if value not in list(Backend):
        raise UsageError(f"CONDGEN_BACKEND is {value!r}, not {', '.join(Backend)}", "CONDGEN_BACKEND=auto")
    return Backend(value)


def choose_backend(bundle: Bundle, backend: str | None, device: str) -> Backend:
    """The backend of a model, ``onnx`` or ``torch``.

    Args:
        bundle: the model.
        backend: name of a ``Backend``; None: ``default_backend()``.
        device: name of the device, or ``auto``.
    Raises:
        UsageError: if ``onnx`` is asked for and can't run the model, or there is no such backend.
    """
    if backend is not None and backend not in list(Backend):
        raise UsageError(f"there is no backend {backend!r}", f"one of: {', '.join(Backend)}")
    wanted = default_backend() if backend is None else Backend(backend)
    if wanted is Backend.torch:
        return wanted
    reason, hint = _obstacle(bundle, device)
    if wanted is Backend.onnx and reason:
        raise UsageError(f"{bundle.name} can't be run by ONNX Runtime: {reason}", hint)
    # on a machine with a GPU, torch decides whether it can use it
    return Backend.torch if reason or (wanted is Backend.auto and device == "auto" and _may_have_gpu()) else Backend.onnx


def require_torch(backend: str | None, purpose: str) -> Backend:
    """The backend for what only torch does.

    Args:
        backend: as for ``choose_backend``.
        purpose: what it is, such as ``--explain``, for the error.
    Raises:
        UsageError: if ``onnx`` is asked for.
    """
    if (default_backend() if backend is None else backend) == Backend.onnx:
        raise UsageError(f"{purpose} needs torch", "--backend torch")
    return Backend.torch


def _obstacle(bundle: Bundle, device: str) -> tuple[str, str]:
    """Why ONNX Runtime can't run a model, and what helps; empty if it can."""
    from condgen_cli.registry.plugins import manager

    torch = "--backend torch"
    if device not in ("auto", "cpu"):
        return f"it computes on the CPU, not on {device}", torch
    spec = manager().models.get(bundle.architecture)
    if spec is not None and not spec.graphs:
        return f"the architecture {bundle.architecture!r} has no graphs", torch
    if not any(name.endswith(GRAPHS) for name in bundle.files):
        return "it has no graphs", torch
    if importlib.util.find_spec("onnxruntime") is None:
        return "onnxruntime is not installed", "pip install onnxruntime"
    return "", ""


def _may_have_gpu() -> bool:
    """Whether torch could find a GPU, told without importing it: that would take longer than running most models."""
    return _has_gpu_driver() and importlib.util.find_spec("torch") is not None


def _has_gpu_driver() -> bool:
    if sys.platform == "darwin":
        return os.uname().machine == "arm64"
    if sys.platform == "win32":
        return (Path(os.environ.get("SYSTEMROOT", "C:/Windows")) / "System32" / "nvcuda.dll").exists()
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists() or Path("/dev/dxg").exists()
