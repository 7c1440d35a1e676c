"""A message to the user when nothing happens for a while."""

from __future__ import annotations

import threading
from types import TracebackType

from condgen_cli.terminal import console

__all__ = ["Waiting"]

PATIENCE = 2.0
"""Seconds before the message."""


class Waiting:
    """A context that prints once on stderr what is being waited for, if that takes longer than ``PATIENCE``.

    It may be entered repeatedly, but not nested.

    Args:
        what: text after "waiting for".
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = False
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Waiting:
        if not self._shown:
            self._timer = threading.Timer(PATIENCE, self._tell)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._timer:
            self._timer.cancel()

    def _tell(self) -> None:
        self._shown = True
        console.info(f"waiting for {self._what} …")
