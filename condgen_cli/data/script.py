"""Converting simplified and traditional Chinese with OpenCC's tables (phrases first, then characters)."""

from __future__ import annotations

from functools import cache
from typing import Any

__all__ = ["to_simplified", "to_traditional"]


def to_simplified(text: str) -> str:
    return str(_converter("t2s").convert(text))


def to_traditional(text: str) -> str:
    """Convert to traditional characters; an ambiguous one is resolved by the word around it, or else to the most common."""
    return str(_converter("s2t").convert(text))


@cache
def _converter(name: str) -> Any:
    from opencc import OpenCC

    return OpenCC(name)
