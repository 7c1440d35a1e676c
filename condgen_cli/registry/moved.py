"""Where modules are that plugins written for API 1 import from other places."""

from __future__ import annotations

__all__ = ["new_place"]

_MOVED = {
    "app": "cli.app",
    "builtin": "registry.builtin",
    "checkup": "registry.checkup",
    "commandline": "cli.commandline",
    "console": "terminal.console",
    "decoding": "running.decoding",
    "distributions": "registry.distributions",
    "entry_points": "registry.entry_points",
    "guard": "registry.guard",
    "inspection": "running.inspection",
    "likelihood": "running.likelihood",
    "limits": "running.limits",
    "lines": "inputs.lines",
    "outputs": "tasks.outputs",
    "pipeline": "running.pipeline",
    "plugins": "registry.plugins",
    "printable": "terminal.printable",
    "printers": "tasks.printers",
    "randomness": "running.randomness",
    "runner": "running.runner",
    "signs": "running.signs",
    "sources": "inputs.sources",
    "stdout": "terminal.stdout",
    "tasks": "tasks.job",
    "validation": "files.validation",
    "weights": "files.weights",
    "wellformed": "registry.wellformed",
}


def new_place(error: ImportError) -> str:
    """Advice where a module of condgen is imported from where it was in API 1; empty if it isn't."""
    name = (error.name or "").removeprefix("condgen_cli.")
    if name == "specs" and "ExperimentSpec" in str(error):
        return "it is ComparisonSpec in API 2, and its hook condgen_register_comparisons"
    return f"import it from condgen_cli.{_MOVED[name]}, where it is in API 2" if name in _MOVED else ""
