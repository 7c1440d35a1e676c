"""The condition of a text model."""

from __future__ import annotations

from typing import NamedTuple

from condgen_generate.verse import Form

__all__ = ["Prompt"]


class Prompt(NamedTuple):
    """The beginning of a text, and constraints on the rest.

    Args:
        text: beginning of the text. A model of verse includes it in the poem, others continue from it.
        form: form of a poem; None for other texts.
        acrostic: first characters of a poem's lines.
        exact: whether form, given characters and length are forced; otherwise the model decides where to end.
        length: characters to write; for a poem that isn't exact, the most. 0: the model decides.
        stop: text before which the output ends.
        simplified: whether a poem is printed, and its prompt read, in simplified characters.
        flags: command-line options that were given, as written; a model refuses those that it can't use.
    """

    text: str = ""
    form: Form | None = None
    acrostic: str = ""
    exact: bool = False
    length: int = 0
    stop: str = ""
    simplified: bool = False
    flags: tuple[str, ...] = ()
