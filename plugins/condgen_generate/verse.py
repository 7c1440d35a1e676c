"""Forms of regulated verse, such as four lines of seven syllables; only syllables and lines are counted.

A poem is one line of text; its lines end with a comma and a full stop in turn: 床前明月光，疑是地上霜。…
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from condgen_cli.errors import UsageError

__all__ = ["COMMA", "FORMS", "PERIOD", "Form", "form_of", "guess_form", "lines_of", "normalise", "parse_form", "plan"]

COMMA, PERIOD = "，", "。"

_MARKS = re.compile("[，。？！；]")
_CHARACTERS = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")


class Form(NamedTuple):
    """A regular form.

    Args:
        syllables: syllables of a line, each of which is a character.
        lines: number of lines, which is even.
    """

    syllables: int
    lines: int

    @property
    def name(self) -> str:
        return f"{self.syllables}x{self.lines}"

    @property
    def length(self) -> int:
        """Number of characters, including the punctuation at the ends of lines."""
        return (self.syllables + 1) * self.lines


FORMS = (Form(5, 4), Form(7, 4), Form(5, 8), Form(7, 8))
"""五绝, 七绝, 五律, 七律."""

_NAMES = {"五絕": FORMS[0], "五绝": FORMS[0], "七絕": FORMS[1], "七绝": FORMS[1], "五律": FORMS[2], "七律": FORMS[3]}


def parse_form(name: str) -> Form:
    """The form named ``7x4``, ``7×4`` or 七绝.

    Raises:
        UsageError: if there is no such form.
    """
    wanted = name.strip().lower().replace("×", "x")
    for form in FORMS:
        if wanted == form.name or _NAMES.get(wanted) == form:
            return form
    raise UsageError(f"no form named {name!r}", f"syllables x lines: {', '.join(form.name for form in FORMS)}")


def guess_form(opening: str, acrostic: str) -> Form:
    """The most likely form of a poem with this beginning; by default four lines of seven syllables."""
    first, *marked = _MARKS.split("".join(opening.split()))
    syllables = 5 if len(first) == 5 else 7
    given = sum(map(len, (first, *marked)))
    return Form(syllables, 8 if len(acrostic) > 4 or given > 4 * syllables else 4)


def normalise(text: str) -> str | None:
    """A poem with a comma after odd lines and a full stop after even ones as its only punctuation; None if it is in no form."""
    lines = [line for line in _MARKS.split("".join(text.split())) if line]
    form = _form_of_lines(lines)
    return _join_lines(lines) if form in FORMS and all(map(_CHARACTERS.fullmatch, lines)) else None


def form_of(text: str) -> Form | None:
    """The form that a poem matches exactly, punctuation included; None if it matches none of ``FORMS``."""
    lines = lines_of(text)
    form = _form_of_lines(lines)
    return form if form in FORMS and _join_lines(lines) == text and all(map(_CHARACTERS.fullmatch, lines)) else None


def lines_of(text: str) -> list[str]:
    """The lines of a poem, without punctuation."""
    return [line for line in re.split(f"[{COMMA}{PERIOD}]", text) if line]


def plan(form: Form, opening: str = "", acrostic: str = "") -> list[str | None]:
    """The given character at each place of a poem, None for any character that isn't punctuation.

    Args:
        form: form of the poem.
        opening: beginning of the poem; its punctuation is ignored, since it follows from the form.
        acrostic: first characters of the first lines.
    Raises:
        UsageError: if either is longer than the poem allows, or they contradict each other.
    """
    given = [character for character in "".join(opening.split()) if not _MARKS.fullmatch(character)]
    first = [character for character in "".join(acrostic.split()) if not _MARKS.fullmatch(character)]
    if len(given) > form.syllables * form.lines:
        raise UsageError(f"a poem of {form.name} has {form.syllables * form.lines} characters, but {len(given)} are given")
    if len(first) > form.lines:
        raise UsageError(f"a poem of {form.name} has {form.lines} lines, the acrostic {len(first)} characters")
    places: list[str | None] = [*given, *[None] * (form.syllables * form.lines - len(given))]
    for line, character in enumerate(first):
        place = line * form.syllables
        if places[place] not in (None, character):
            raise UsageError(f"line {line + 1} can't begin with both {places[place]} and {character}")
        places[place] = character
    for character in filter(None, places):
        if not _CHARACTERS.fullmatch(character):
            raise UsageError(f"a poem has only Chinese characters, which {character!r} isn't")
    whole: list[str | None] = []
    for line in range(form.lines):
        whole += [*places[line * form.syllables : (line + 1) * form.syllables], PERIOD if line % 2 else COMMA]
    return whole


def _form_of_lines(lines: Sequence[str]) -> Form | None:
    return Form(len(lines[0]), len(lines)) if lines and len(set(map(len, lines))) == 1 else None


def _join_lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}{PERIOD if number % 2 else COMMA}" for number, line in enumerate(lines))
