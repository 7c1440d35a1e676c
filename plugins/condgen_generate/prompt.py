"""What a text model is given to begin with."""

from __future__ import annotations

from typing import NamedTuple

from condgen_generate.verse import Form

__all__ = ["Prompt"]


class Prompt(NamedTuple):
    """The beginning of a text, and what holds for the rest.

    Args:
        text: what stands before: a model of verse writes it anew, others go on from there.
        form: of a poem; None for other texts.
        acrostic: the first characters of a poem's lines.
        exact: hold the model to what is asked: the form at each place, what is given, a length. Otherwise it ends when it will.
        length: characters to write; the most that a poem may have if it isn't exact. 0: as many as the model thinks fit.
        stop: text that ends it, itself left out.
        simplified: a poem's characters are printed, and its prompt read, as simplified ones.
        asked: options of the command line that made it, as they are written: a model that has no use for one refuses them.
    """

    text: str = ""
    form: Form | None = None
    acrostic: str = ""
    exact: bool = False
    length: int = 0
    stop: str = ""
    simplified: bool = False
    flags: tuple[str, ...] = ()
