"""Options of a model from the Hub, written after its name: ``hf:ORG/NAME,target=de``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from condgen_cli.errors import UsageError
from condgen_cli.terminal.suggestions import suggestion

__all__ = ["HEADS", "Heads", "check_options", "parse_heads"]

HEADS = ("mean", "align", "all")


class Heads(NamedTuple):
    """Which heads of cross-attention are shown.

    Args:
        kind: ``mean`` of all heads, of those that ``align`` output and input, ``all`` apart, or ``one``.
        layer, head: of ``one``.
    """

    kind: str
    layer: int = 0
    head: int = 0


def check_options(options: Mapping[str, str], known: tuple[str, ...], model: str) -> Mapping[str, str]:
    """The options, if the model knows them all.

    Raises:
        UsageError: otherwise.
    """
    for name in options:
        if name not in known:
            raise UsageError(f"{model} has no option {name!r}", suggestion(name, list(known)) or f"it has: {', '.join(known)}")
    return options


def parse_heads(text: str) -> Heads:
    """``mean``, ``align``, ``all``, or ``LAYER.HEAD``, both counted from 0.

    Raises:
        UsageError: for anything else.
    """
    if text in HEADS:
        return Heads(text)
    layer, _, head = text.partition(".")
    if not (layer.isascii() and layer.isdigit() and head.isascii() and head.isdigit()):
        raise UsageError(f"heads are mean, align, all or LAYER.HEAD, not {text!r}", "heads=mean")
    return Heads("one", int(layer), int(head))
