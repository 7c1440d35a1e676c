"""The input of a model, with references for training and evaluation. Separate from ``model.py`` because scoring text needs
no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Content", "Item"]


class Content(ABC):
    """Bytes that are read on demand, from a file, a URL or an archive: a condition that is decoded only when it is needed.

    Attributes:
        name: the name used in messages.
        warnings: problems found when it was last decoded, one line each.
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
        """Bytes that identify the content, made from its first and last ``size`` bytes; by default all its bytes.

        Raises:
            CondgenError: as ``open``.
        """
        return self.open()


@dataclass(frozen=True)
class Item:
    """One condition, with its references for training and evaluation.

    Args:
        id: stable identifier, unique within its data set.
        condition: the model's input: an image, a sentence, samples of sound.
        references: correct outputs.
        source: origin of the item, as shown to the user.
        group: group of the data set for which ``eval`` reports separate scores; empty: none.
        meta: further values shared between readers, metrics and renderers, such as an offset in seconds.
        text: the whole input text, where ``source`` is only its name, such as a line of a file; None: the input is no text.
        part, parts: index of the item among the parts that its reader split one input into, and their number; the parts'
            results are joined. With 0 parts the input is empty; so is its output, and the model is not run.
        key: key of its random number streams (``condgen_cli.running.randomness``), set by the runner for sampling.
        warnings: its reader's warnings for the user, one line each, such as that the end of the file is missing. Problems found
            when the condition is decoded are in ``Content.warnings``.
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
