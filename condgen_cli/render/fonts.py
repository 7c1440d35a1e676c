"""Fonts of figures: DejaVu Sans, and for each character that it lacks, an installed font that has it.

A character that no font has is written as its code point, such as U+673A, with one warning for all of them.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path

from PIL import ImageDraw, ImageFont

from condgen_cli.terminal import console
from condgen_cli.terminal.printable import printable

__all__ = ["Color", "draw_text", "installed_fonts", "text_width"]

Color = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_LATIN_END = 0x250
_USUAL = "–—‘’“”…"
"""Characters that DejaVu is known to have, so that Latin text needs no search for fonts, which takes half a second."""
_STYLED = ("bold", "italic", "oblique", "light", "thin", "black", "condensed", "narrow", "mono", "serif")
_NEIGHBOURS = re.compile(r"(U\+[0-9A-F]{4,6})(?=U\+[0-9A-F])")
_PLACEHOLDERS = ("lastresort", "blank")
"""Names of fonts that draw a placeholder for every code point."""


def text_width(text: str, size: int, bold: bool = False) -> float:
    """Width of a line of text, in pixels."""
    return sum(_font(path, size, bold).getlength(run) for run, path in _runs(text))


def draw_text(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, color: Color, bold: bool = False
) -> None:
    """Draw a line of text; ``at`` is the left end of its baseline."""
    x, y = at
    for run, path in _runs(text):
        font = _font(path, size, bold)
        draw.text((x, y), run, color, font, "ls")
        x += font.getlength(run)


def installed_fonts() -> list[str]:
    """Paths of the system's fonts, plain sans-serif ones first."""
    from matplotlib.font_manager import findSystemFonts

    def rank(path: str) -> tuple[bool, bool, str]:
        name = Path(path).name.lower()
        return any(style in name for style in _STYLED), "sans" not in name, name

    paths = (path for path in findSystemFonts() if not any(name in Path(path).name.lower() for name in _PLACEHOLDERS))
    return sorted(paths, key=rank)


def _runs(text: str) -> Iterator[tuple[str, str | None]]:
    """Pieces of the text, each with its font file; None for DejaVu."""
    # text layout libraries fail on some control characters
    drawable = "".join(letter if _has_font(letter) else f"U+{ord(letter):04X}" for letter in printable(text))
    drawable = _NEIGHBOURS.sub(r"\1 ", drawable)
    for path, letters in groupby(drawable, key=_path_for):
        yield "".join(letters), path


def _has_font(letter: str) -> bool:
    if _in_default(letter) or _path_for(letter) is not None:
        return True
    _warn()
    return False


def _in_default(letter: str) -> bool:
    return ord(letter) < _LATIN_END or letter in _USUAL or ord(letter) in _glyphs(_default_path(False))


@lru_cache(maxsize=4096)
def _path_for(letter: str) -> str | None:
    if _in_default(letter):
        return None
    return next((path for path in _candidates() if ord(letter) in _glyphs(path)), None)


@lru_cache(maxsize=1)
def _candidates() -> list[str]:
    return installed_fonts()


@lru_cache(maxsize=1)
def _warn() -> None:
    hint = "install one that does, such as Noto Sans CJK"
    console.warn(f"no installed font has some of the figure's characters, which are written as code points; {hint}")


@cache
def _glyphs(path: str) -> frozenset[int]:
    """The code points that a font file can draw; none if it can't be read or scaled."""
    from matplotlib.ft2font import FT2Font

    try:
        ImageFont.truetype(path, 20)
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


@lru_cache(maxsize=32)
def _font(path: str | None, size: int, bold: bool) -> Font:
    path = path or _default_path(bold)
    return ImageFont.truetype(path, size) if path else ImageFont.load_default(size)


@lru_cache(maxsize=2)
def _default_path(bold: bool) -> str:
    """DejaVu Sans from matplotlib's package, found without importing it; it has far more scripts than Pillow's font."""
    matplotlib = importlib.util.find_spec("matplotlib")
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    for folder in (matplotlib and matplotlib.submodule_search_locations) or ():
        path = Path(folder, "mpl-data", "fonts", "ttf", name)
        if path.is_file():
            return str(path)
    return ""
