"""SIGINT during a training: the first one asks for a checkpoint, a second one stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interruption"]


class Interruption:
    """Whether the user has asked to stop.

    Attributes:
        asked: True after SIGINT.
        at_once: whether SIGINT raises KeyboardInterrupt as well, to break off what takes long and can be done again.
    """

    def __init__(self) -> None:
        self.asked = False
        self.at_once = False

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Take note of SIGINT within the block, if it is run in the main thread and SIGINT isn't ignored."""
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
