"""Attention over the frames of a video: a bar chart in the terminal, a film strip for every step in the figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw
from rich.text import Text

from condgen_cli.generation import Generation
from condgen_cli.render.blocks import caption, half_blocks, side_by_side
from condgen_cli.render.light import brighten
from condgen_cli.render.lines import Floats, Lines, wrap
from condgen_cli.render.panels import Panel

if TYPE_CHECKING:
    from condgen_cli.data.video import Clip

__all__ = ["film", "frame_lines", "strips"]

_MOST_FRAMES = 60
_MOST_STEPS = 120
_BARS = 4
"""Height in lines of a bar chart in ASCII; half of it if a character has eight levels."""
_NARROWEST_CHART = 12
_TALLEST_PICTURE = 16
_WIDEST_STRIP = 1400
_BROADEST_FRAME = 160
_BAR = 10
"""Height in pixels of the bar below a frame."""
_SEAM = 2
_PAPER, _TRACK, _LIT = (255, 255, 255), (228, 228, 232), (214, 72, 70)


def film(panel: Panel, generation: Generation) -> Clip | None:
    """The clip whose frames are the panel's positions; None if they aren't frames, there is no clip, or it is too long."""
    if generation.condition is None or [axis.kind for axis in panel.axes] != ["frames"]:
        return None
    if len(panel.axes[0]) > _MOST_FRAMES or len(panel.steps) > _MOST_STEPS:
        return None
    # imports video decoders, which other inputs don't need
    from condgen_cli.data.video import Clip

    clip = generation.condition
    return clip if isinstance(clip, Clip) and len(clip.frames) == len(panel.axes[0]) else None


# In the terminal


def frame_lines(panel: Panel, clip: Clip, width: int, levels: str, pictures: bool) -> Lines:
    """For each step, a bar chart over the frames, below the picture of the strongest one.

    Args:
        panel: panel whose positions are frames.
        clip: the frames.
        width: width of the terminal in columns.
        levels: characters for parts of a bar, from empty to a full line; empty: ASCII.
        pictures: whether the terminal can show pictures.
    """
    count = len(clip.frames)
    columns = min(width // count, max(2, -(-_NARROWEST_CHART // count)))
    if not columns:  # frames beyond the edge of the terminal are not shown
        columns, count = 1, width
    across = columns * count
    scale = f"The highest bar is the largest weight, written beside each {panel.step_axis[0]}. A bar for each frame."
    seen = " Above: the strongest frame." if pictures else ""
    lines = [*wrap(f"{scale}{seen}", width, "dim"), Text("")]
    small = [_small(frame, across) for frame in clip.frames] if pictures else []
    stamps = Text(_stamps(panel, columns, across), "dim")
    blocks = []
    for word, weights, relative, peak in zip(panel.steps, panel.weights, panel.relative(), panel.peaks, strict=True):
        block = [caption(word, peak, max(across, _NARROWEST_CHART))]
        block += half_blocks(small[int(weights.argmax())]) if pictures else []
        blocks.append([*block, *_chart(relative[:count], columns, levels), stamps])
    return [*lines, *side_by_side(blocks, width)]


def _chart(relative: Floats, columns: int, levels: str) -> Lines:
    """A bar chart; empty bars are visible on the last line. Bars are separated by a blank if there is room."""
    scale, height = (levels, _BARS // 2) if levels else (" #", _BARS)
    parts = len(scale) - 1
    filled = np.floor(relative * height * parts + 0.5).astype(int)
    lines = []
    for row in reversed(range(height)):
        ground = (levels[1] if levels else "_") if row == 0 else " "
        cells = (filled - row * parts).clip(0, parts).tolist()
        bars = "".join((scale[cell] if cell else ground) * max(1, columns - 1) + " " * (columns > 1) for cell in cells)
        lines.append(Text(bars, "yellow"))
    return lines


def _stamps(panel: Panel, columns: int, across: int) -> str:
    """Times below the bars of their frames, as many as fit without touching."""
    line = ""
    for position, name in enumerate(map(str, panel.axes[0].labels)):
        start = position * columns
        if start >= len(line) + 2 * bool(line) and start + len(name) <= max(across, _NARROWEST_CHART):
            line += " " * (start - len(line)) + name
    return line


def _small(frame: Image.Image, across: int) -> Image.Image:
    """A picture for half blocks, on a background as wide as the bar chart, so that blocks have one size."""
    down = max(2, 2 * round(across * frame.height / frame.width / 2))
    wide = across
    if down > _TALLEST_PICTURE:
        down, wide = _TALLEST_PICTURE, max(1, min(across, round(_TALLEST_PICTURE * frame.width / frame.height)))
    picture = Image.new("RGB", (across, down))
    picture.paste(frame.resize((wide, down), Image.Resampling.BOX), ((across - wide) // 2, 0))
    return picture


# In the figure


def strips(panel: Panel, clip: Clip) -> tuple[Image.Image, int, int]:
    """The frames, and below them for each step a strip of the frames, as bright as their weights, with bars.

    Returns:
        the picture, and width and height of a frame's cell in pixels.
    """
    width = max(8, min(_BROADEST_FRAME, _WIDEST_STRIP // len(clip.frames)))
    first = clip.frames[0]
    height = max(1, min(round(width * first.height / first.width), 2 * width))
    small = [frame.resize((width - _SEAM, height), Image.Resampling.LANCZOS) for frame in clip.frames]
    down = height + _BAR + 3 * _SEAM
    sheet = Image.new("RGB", (width * len(small), down * (len(panel.steps) + 1)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, frame in enumerate(small):
        sheet.paste(frame, (column * width, 0))
    for row, relative in enumerate(panel.relative(), 1):
        for column, (frame, level) in enumerate(zip(small, relative.tolist(), strict=True)):
            x, y = column * width, row * down
            sheet.paste(brighten(frame, level), (x, y))
            below = y + height + _SEAM
            draw.rectangle((x, below, x + width - _SEAM - 1, below + _BAR - 1), _TRACK)
            if level > 0:
                draw.rectangle((x, below, x + max(1, round(level * (width - _SEAM))) - 1, below + _BAR - 1), _LIT)
    return sheet, width, down
