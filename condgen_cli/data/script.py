"""Chinese characters, simplified and traditional: OpenCC's tables (phrases first, then characters)."""

from __future__ import annotations

from functools import cache
from typing import Any

__all__ = ["to_simplified", "to_traditional"]


def to_simplified(text: str) -> str:
    return str(_converter("t2s").convert(text))


def to_traditional(text: str) -> str:
    """Where a simplified character stands for several, the one that the word around it has, or else the commonest."""
    return str(_converter("s2t").convert(text))


@cache
def _converter(name: str) -> Any:
    from opencc import OpenCC

    return OpenCC(name)
