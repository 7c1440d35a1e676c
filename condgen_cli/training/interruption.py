"""SIGINT during training: the first one requests a checkpoint, a second one stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interruption"]


class Interruption:
    """A request to stop.

    Attributes:
        asked: whether SIGINT has arrived.
        at_once: whether SIGINT also raises KeyboardInterrupt, to break off work that takes long and can be repeated.
    """

    def __init__(self) -> None:
        self.asked = False
        self.at_once = False

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Record SIGINT within the block, if this is the main thread and SIGINT isn't ignored."""
        previous = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or previous is signal.SIG_IGN:
            yield
            return

        def ask(number: int, frame: FrameType | None) -> None:
            signal.signal(signal.SIGINT, previous)
            self.asked = True
            if self.at_once:
                raise KeyboardInterrupt

        signal.signal(signal.SIGINT, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)
