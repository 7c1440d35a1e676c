"""Progress of a training run on stderr: a live display on a terminal, plain lines otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, Self

from condgen_cli.terminal.console import info, stderr_is_terminal

__all__ = ["Display", "make_display"]


class Display(AbstractContextManager["Display"], Protocol):
    """Shows a run's progress and the records of its log."""

    def advance(self, progress: float) -> None:
        """Show the share of the training that is done, 0 to 1; called after each step."""

    def show(self, record: Mapping[str, Any]) -> None: ...


def make_display(name: str, visible: bool = True) -> Display:
    """A live display on a terminal, plain lines otherwise; none unless ``visible``."""
    if not visible:
        return _Silent()
    return _Live(name) if stderr_is_terminal() else _Lines()


class _Silent:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def advance(self, progress: float) -> None:
        pass

    def show(self, record: Mapping[str, Any]) -> None:
        pass


class _Lines(_Silent):
    def show(self, record: Mapping[str, Any]) -> None:
        info(_evaluation(record) if "dev" in record else f"{_position(record)}  {_numbers(record)}")


class _Live:
    def __init__(self, name: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[numbers]}", style="dim"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self.task = self.bar.add_task(name, total=1.0, numbers="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()

    def advance(self, progress: float) -> None:
        self.bar.update(self.task, completed=progress)

    def show(self, record: Mapping[str, Any]) -> None:
        if "dev" in record:
            self.bar.console.print(_evaluation(record), style="bold green" if record["best"] else None, highlight=False)
        else:
            self.bar.update(self.task, numbers=_numbers(record))


def _position(record: Mapping[str, Any]) -> str:
    return f"epoch {record['epoch']}  step {record['step']}"


def _numbers(record: Mapping[str, Any]) -> str:
    return (
        f"loss {record['loss']:.4f}  lr {record['lr']:.2e}  gradient {record['gradient_norm']:.3g}"
        f"  {record['tokens_per_second']:.0f} tokens/s"
    )


def _evaluation(record: Mapping[str, Any]) -> str:
    metrics = "  ".join(f"{name} {value:.4g}" for name, value in record["dev"].items())
    return f"{_position(record)}  dev: {metrics}{'  (best)' if record['best'] else ''}"
