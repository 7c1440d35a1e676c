"""One thing to run a model on, or to train and evaluate it with. Apart from ``model.py``: scoring text needs no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Content", "Item"]


class Content(ABC):
    """Bytes that are read when they are asked for: a file, a URL, a member of an archive. A condition that is decoded late.

    Attributes:
        name: what messages call it.
        warnings: what was wrong with it when it was decoded last, a line each.
    """

    name: str
    warnings: tuple[str, ...] = ()

    @abstractmethod
    def open(self) -> bytes:
        """All bytes.

        Raises:
            CondgenError: if they can't be read.
        """

    def ends(self, size: int) -> bytes:
        """What tells it from other contents; all bytes, where its first and last ``size`` aren't found faster.

        Raises:
            CondgenError: as ``open``.
        """
        return self.open()


@dataclass(frozen=True)
class Item:
    """One condition, and for training and evaluation what people wrote for it.

    Args:
        id: stable and unique in its data set.
        condition: what the model's front end reads: an image, a sentence, samples of sound.
        references: acceptable outputs.
        source: where it came from, as shown to the user.
        group: name of the part of the data set that ``eval`` reports on its own; empty: none.
        meta: anything else that readers, metrics and renderers agree on, such as an offset in seconds.
        text: the whole input, if it is a text that ``source`` only names, such as a line of a file.
        part, parts: which of how many items its reader has cut one input into, in order: their results are joined to one. With
            0 parts there is nothing in the input, and so in its output: the model is not asked.
        key: of its streams of random numbers (``condgen_cli.running.randomness``); the runner sets it when it samples.
        warnings: what its reader has to tell the user about it, a line each, such as that its end is missing. What is found
            when its condition is decoded stands in ``Content.warnings``.
    """

    id: str
    condition: Any
    references: tuple[str, ...] = ()
    source: str = ""
    group: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    text: str | None = None
    part: int = 0
    parts: int = 1
    key: int = 0
    warnings: tuple[str, ...] = ()
