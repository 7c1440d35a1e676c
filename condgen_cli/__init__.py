"""condgen: conditional generation with RNNs and attention: trained models to run, inspect, evaluate and retrain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

if TYPE_CHECKING:
    from condgen_cli.running.runner import load


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, and `condgen --help` needs none of it
    if name == "load":
        from condgen_cli.running.runner import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
