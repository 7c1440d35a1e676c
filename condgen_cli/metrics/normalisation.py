"""Normalisation of texts before they are scored, so that systems of different conventions compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from condgen_cli.errors import NotFoundError, UsageError
from condgen_cli.terminal.suggestions import suggestion

__all__ = ["NORMALISERS", "Normaliser", "find_normaliser"]

NORMALISERS = ("english",)


class Normaliser(NamedTuple):
    """A normaliser: its name with its version, for signatures, and the function."""

    signature: str
    apply: Callable[[str], str]


def find_normaliser(name: str) -> Normaliser | None:
    """The normaliser of a name; None for an empty name.

    ``english`` is that of Whisper (Radford et al. 2022, appendix C): lower case, no punctuation, numbers as digits, British
    spellings as American ones, contractions written out, no fillers.

    Raises:
        UsageError: if there is none of that name.
        NotFoundError: if its package isn't installed.
    """
    if not name:
        return None
    if name not in NORMALISERS:
        raise UsageError(f"there is no normaliser {name!r}", suggestion(name, NORMALISERS))
    from importlib.metadata import version

    try:
        from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError:
        raise NotFoundError(
            "the normaliser english needs a package that isn't installed", "pip install whisper-normalizer"
        ) from None
    return Normaliser(f"english-whisper-normalizer-{version('whisper-normalizer')}", EnglishTextNormalizer())
