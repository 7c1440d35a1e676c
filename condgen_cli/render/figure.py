"""Attention as a figure: the picture with a lit copy for each step, or a heat map for positions in a row."""

from __future__ import annotations

import math
import textwrap
import unicodedata

import numpy as np
from PIL import Image, ImageDraw

from condgen_cli.generation import Axis, Generation
from condgen_cli.render.fonts import Color, draw_text, text_width
from condgen_cli.render.frames import film, strips
from condgen_cli.render.light import light_up, picture
from condgen_cli.render.lines import heat_color, letters
from condgen_cli.render.panels import Panel, Weights, is_explained, panels, sum_bins
from condgen_cli.render.sound import BANDS, Track, kilohertz, track
from condgen_cli.render.tape import FAINT, is_tape, relative_weights
from condgen_cli.render.ticks import ticks

__all__ = ["figure"]

_AREA = 480 * 360
"""Area in pixels of a picture in the figure."""
_LONGEST_PANEL, _NARROWEST_PANEL = 1000, 200
_MARGIN, _GAP = 56, 36
_INK, _FAINT, _PAPER = (28, 28, 32), (112, 112, 122), (255, 255, 255)
_TITLE, _WORD, _SMALL = 34, 28, 19
_NARROWEST = 640
_MOST_ROWS, _MOST_COLUMNS = 400, 1200
_LONGEST_NAME, _LONGEST_SIDE = 320, 1200
_CELL, _BROADEST_CELL = 44, 130
_SEAM = 8
_FRAME = (190, 190, 196)
_BAND = 2
"""Height in pixels of a spectrogram's row."""
_MOST_TOKENS = 200
"""Up to this number of tokens, each has room for its name, and the matrix may exceed the longest side."""


def figure(generation: Generation, title: str) -> Image.Image:
    """The figure as an RGB picture: the output, the title, and the panels (one per head or hop) below each other.

    A grid becomes pictures in reading order, the original one first; a row of positions becomes a heat map. Maps of several
    methods of explanation are side by side, two in a row.
    """
    parts = [_panel(panel, generation) for panel in panels(generation)]
    if is_explained(generation):
        parts = [_beside(parts[first : first + 2], 2 * _GAP) for first in range(0, len(parts), 2)]
    width = max(_NARROWEST, *(part.width for part in parts))
    heading = [_paragraph(str(generation.output), _TITLE, width, bold=True), _paragraph(title, _SMALL, width, color=_FAINT)]
    parts = [_stack([part for part in heading if part], 8), *parts]
    return _add_margin(_stack(parts, _GAP))


def _panel(panel: Panel, generation: Generation) -> Image.Image:
    if panel.is_hops:
        body = _hops(panel)
    elif is_tape(panel, generation):
        body = _tape(panel)
    elif clip := film(panel, generation):
        body = _film(panel, *strips(panel, clip))
    else:
        body = _pictures(panel, generation) if panel.is_grid else _heat_map(panel, track(panel, generation))
    return _stack([_line(panel.title, _WORD, bold=True), body], 12) if panel.title else body


# Grids


def _pictures(panel: Panel, generation: Generation) -> Image.Image:
    image = picture(generation.condition, panel.weights.shape[1:])
    image = image.resize(_panel_size(image), Image.Resampling.LANCZOS)
    panels = [_add_caption(image, "", "")]
    for step, (word, weights) in enumerate(zip(panel.steps, panel.weights, strict=True)):
        panels.append(_add_caption(light_up(image, weights), word, _facts(panel, generation, step)))
    return _sheet(panels)


def _panel_size(image: Image.Image) -> tuple[int, int]:
    """The size of a picture in the figure: its aspect ratio, at the same area for all pictures but very long ones."""
    scale = min(math.sqrt(_AREA / (image.width * image.height)), _LONGEST_PANEL / max(image.size))
    return max(round(scale * image.width), 1), max(round(scale * image.height), 1)


def _facts(panel: Panel, generation: Generation, step: int) -> str:
    extras = [f"{name} {values[step]:.2f}" for name, values in generation.extras.items() if len(values) == len(panel.steps)]
    return " · ".join([f"peak {panel.peaks[step]:.2g}", *extras])


def _add_caption(image: Image.Image, word: str, facts: str) -> Image.Image:
    """Add a word above its picture, with facts in small type."""
    head, width = _WORD + _SMALL + 22, max(image.width, _NARROWEST_PANEL)
    panel = Image.new("RGB", (width, head + image.height), _PAPER)
    draw = ImageDraw.Draw(panel)
    draw_text(draw, (0, _WORD), _shorten(word, _WORD, width, bold=True), _WORD, _INK, bold=True)
    draw_text(draw, (0, _WORD + _SMALL + 8), _shorten(facts, _SMALL, width), _SMALL, _FAINT)
    panel.paste(image, (0, head))
    return panel


def _sheet(panels: list[Image.Image]) -> Image.Image:
    """Panels in reading order, with the number of columns that brings the sheet closest to 3:2."""
    width, height = panels[0].width + _GAP, panels[0].height + _GAP

    def mismatch(columns: int) -> float:
        proportion = columns * width / (math.ceil(len(panels) / columns) * height)
        return abs(math.log(proportion / 1.5))

    columns = min(range(1, len(panels) + 1), key=mismatch)
    rows = math.ceil(len(panels) / columns)
    sheet = Image.new("RGB", (columns * width - _GAP, rows * height - _GAP), _PAPER)
    for index, panel in enumerate(panels):
        sheet.paste(panel, (index % columns * width, index // columns * height))
    return sheet


# Positions in a row


def _heat_map(panel: Panel, sound: Track | None) -> Image.Image:
    """A heat map with steps down and positions across, each step scaled to its largest weight, below the spectrogram."""
    pooled, size = sum_bins(panel.weights, _MOST_COLUMNS)
    pooled, step_size = sum_bins(pooled, _MOST_ROWS, axis=0)
    rows, columns = pooled.shape
    across, down = _across(panel.axes[0], columns), _pixels(rows, _SMALL + 4 if len(panel.steps) <= _MOST_TOKENS else 2)
    body = _heat(pooled).resize((columns * across, rows * down), Image.Resampling.NEAREST)
    names = _step_names([panel.steps[row * step_size] for row in range(rows)], down)
    marks = _marks(panel.axes[0], size, across, body.width)
    if sound:
        # below a spectrogram, marks are at the beginning of their position, not in its middle
        marks = [(middle - across / 2, image) for middle, image in marks]
        spectrogram = _spectrogram(sound, size, body.width)
        body = _stack([spectrogram, body], _SEAM)
        above = spectrogram.height + _SEAM
        names = [*_frequencies(sound.rate, spectrogram.height), *((above + middle, name) for middle, name in names)]
    return _add_labels(body, names, marks, panel.axes[0].name + (f", {size} positions to a column" if size > 1 else ""))


def _film(panel: Panel, body: Image.Image, across: int, down: int) -> Image.Image:
    """The frames with their times, and below them a strip of frames for each step beside its name."""
    names = [((row + 0.5) * down, _shorten(step, _SMALL, _LONGEST_NAME)) for row, step in enumerate(panel.steps, 1)]
    return _add_labels(body, names, _marks(panel.axes[0], 1, across, body.width), f"{panel.axes[0].name}s and their times")


def _hops(panel: Panel) -> Image.Image:
    """A heat map with sentences down and hops across, each hop scaled to its largest weight; at most the 200 strongest
    sentences.
    """
    strongest = np.argsort(-panel.weights.max(0), kind="stable")[:_MOST_TOKENS]
    shown = np.sort(strongest)
    relative = panel.relative()[:, shown].T
    across, down = _BROADEST_CELL, _SMALL + 13
    colors = _colorize(relative).resize((len(panel.steps) * across, len(shown) * down), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(colors)
    for row, position in enumerate(shown):
        for hop in range(len(panel.steps)):
            text = f"{100 * panel.weights[hop, position]:.0f} %"
            ink = _INK if relative[row, hop] > 0.6 else _PAPER
            x = (hop + 0.5) * across - text_width(text, _SMALL) / 2
            draw_text(draw, (x, (row + 0.5) * down + _SMALL * 0.35), text, _SMALL, ink)
    names = [
        ((row + 0.5) * down, _shorten(str(panel.axes[0].labels[position]), _SMALL, 2 * _LONGEST_NAME))
        for row, position in enumerate(shown)
    ]
    marks = [((hop + 0.5) * across, _line(f"{panel.step_axis[0]} {step}", _SMALL)) for hop, step in enumerate(panel.steps)]
    note = panel.axes[0].name
    if len(shown) < len(panel.axes[0]):
        note = f"the {len(shown)} of {len(panel.axes[0])} with the highest attention"
    return _add_labels(colors, names, marks, note)


def _tape(panel: Panel) -> Image.Image:
    """A heat map with slots down, from the first to the last that is attended to, and steps across, all on one scale."""
    relative = relative_weights(panel)
    used = np.flatnonzero(relative.max(1) >= FAINT)
    first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, len(relative))
    relative = relative[first:last]
    across, down = _pixels(len(panel.steps), 4), _pixels(len(relative), 4)
    colors = _colorize(relative).resize((len(panel.steps) * across, len(relative) * down), Image.Resampling.NEAREST)
    every = -(-(_SMALL + 4) // across)
    marks = [
        ((step + 0.5) * across, _downwards(_shorten(panel.steps[step], _SMALL, _LONGEST_NAME)))
        for step in range(0, len(panel.steps), every)
    ]
    names = _step_names([str(name) for name in panel.axes[0].labels[first:last]], down)
    return _add_labels(colors, names, marks, f"{panel.axes[0].name}s down, {panel.step_axis[0]}s across")


def _spectrogram(sound: Track, size: int, width: int) -> Image.Image:
    image = sound.spectrogram(size, width).resize((width, BANDS * _BAND), Image.Resampling.NEAREST).convert("RGB")
    ImageDraw.Draw(image).rectangle((0, 0, image.width - 1, image.height - 1), outline=_FRAME)
    return image


def _frequencies(rate: int, height: int) -> list[tuple[float, str]]:
    """Labels of frequencies that don't overlap: (middle of the line in pixels, name)."""
    found: list[tuple[float, str]] = []
    for place, name in kilohertz(rate):
        middle = (1 - place) * height
        if middle > _SMALL / 2 and (not found or found[-1][0] - middle > _SMALL + 2):
            found.append((middle, name))
    return found


def _across(axis: Axis, columns: int) -> int:
    """Width in pixels of a column: enough for its token's name, if all names fit side by side."""
    if axis.kind != "tokens" or columns < len(axis):
        return _pixels(columns, 1)
    broadest = math.ceil(max(text_width(str(name), _SMALL) for name in axis.labels)) + 14
    if _CELL < broadest <= min(_BROADEST_CELL, _LONGEST_SIDE // columns):
        return broadest
    return _pixels(columns, _SMALL + 4 if columns <= _MOST_TOKENS else 1)


def _pixels(count: int, least: int) -> int:
    return max(least, min(_CELL, _LONGEST_SIDE // count))


def _heat(weights: Weights) -> Image.Image:
    peaks = weights.max(1, keepdims=True)
    return _colorize(np.divide(weights, peaks, out=np.zeros_like(weights), where=peaks > 0))


def _colorize(relative: Weights) -> Image.Image:
    """A picture with a pixel for each value from 0 to 1, in the colours of heat maps."""
    palette = np.array([heat_color(level / 255) for level in range(256)], np.uint8)
    return Image.fromarray(palette[np.rint(relative * 255).astype(int)])


def _step_names(steps: list[str], down: int) -> list[tuple[float, str]]:
    """Labels of as many steps as fit without overlap: (middle of the row in pixels, name)."""
    every = -(-(_SMALL + 4) // down)
    names = [_shorten(step, _SMALL, _LONGEST_NAME) for step in steps]
    return [((row + 0.5) * down, names[row]) for row in range(0, len(steps), every)]


def _marks(axis: Axis, size: int, across: int, width: int) -> list[tuple[float, Image.Image]]:
    """Labels of positions above the matrix: (middle of the column in pixels, name as a picture), horizontal if they fit."""
    room = 64 if axis.kind == "time" else _SMALL + 4
    found = [(position // size, _shorten(name, _SMALL, _LONGEST_NAME)) for position, name in ticks(axis, width // room)]
    upright = axis.kind == "time" or all(text_width(name, _SMALL) <= across for _, name in found)
    images = [_line(name, _SMALL) if upright else _downwards(name) for _, name in found]
    return [((column + 0.5) * across, image) for (column, _), image in zip(found, images, strict=True)]


def _downwards(name: str) -> Image.Image:
    """A name rotated by 90 degrees; in scripts that are also written downwards, letter below letter."""
    clusters = letters(name, 2)
    wide = all(unicodedata.east_asian_width(cluster[0]) in ("W", "F") for cluster in clusters)
    if wide and all(text_width(cluster, _SMALL) <= _SMALL + 4 for cluster in clusters):
        return _stack([_line(cluster, _SMALL) for cluster in clusters], 0)
    return _line(name, _SMALL).rotate(90, expand=True)


def _add_labels(
    body: Image.Image, names: list[tuple[float, str]], marks: list[tuple[float, Image.Image]], note: str
) -> Image.Image:
    left = max(round(text_width(name, _SMALL)) for _, name in names) + 16
    top = max((image.height for _, image in marks), default=0) + 10
    right = max([math.ceil(middle + image.width / 2) - body.width for middle, image in marks], default=0)
    width = max(left + body.width + max(right, 0), left + math.ceil(text_width(note, _SMALL)))
    sheet = Image.new("RGB", (width, top + body.height + _SMALL + 16), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for middle, image in marks:
        sheet.paste(image, (max(0, round(left + middle - image.width / 2)), top - 8 - image.height))
        draw.line([(left + middle, top - 6), (left + middle, top - 1)], _FAINT)
    for middle, name in names:
        draw_text(draw, (left - 10 - text_width(name, _SMALL), top + middle + _SMALL * 0.35), name, _SMALL, _INK)
    sheet.paste(body, (left, top))
    draw_text(draw, (left, top + body.height + 10 + _SMALL), note, _SMALL, _FAINT)
    return sheet


# Typesetting


def _stack(parts: list[Image.Image], gap: int) -> Image.Image:
    width = max((part.width for part in parts), default=1)
    stack = Image.new("RGB", (width, max(1, sum(part.height + gap for part in parts) - gap)), _PAPER)
    y = 0
    for part in parts:
        stack.paste(part, (0, y))
        y += part.height + gap
    return stack


def _beside(parts: list[Image.Image], gap: int) -> Image.Image:
    row = Image.new("RGB", (sum(part.width + gap for part in parts) - gap, max(part.height for part in parts)), _PAPER)
    x = 0
    for part in parts:
        row.paste(part, (x, 0))
        x += part.width + gap
    return row


def _add_margin(image: Image.Image) -> Image.Image:
    page = Image.new("RGB", (image.width + 2 * _MARGIN, image.height + 2 * _MARGIN), _PAPER)
    page.paste(image, (_MARGIN, _MARGIN))
    return page


def _line(text: str, size: int, *, bold: bool = False, color: Color = _INK) -> Image.Image:
    image = Image.new("RGB", (max(1, math.ceil(text_width(text, size, bold))), round(size * 1.3)), _PAPER)
    draw_text(ImageDraw.Draw(image), (0, size), text, size, color, bold)
    return image


def _paragraph(text: str, size: int, width: int, *, bold: bool = False, color: Color = _INK) -> Image.Image | None:
    """Text wrapped to a width in pixels; None if it is empty."""
    if not text.strip():
        return None
    pixels = max(size * 0.62, text_width(text, size, bold) / len(text))
    lines = textwrap.wrap(text, max(8, int(width / pixels)))[:6]
    images = [_line(_shorten(line, size, width, bold=bold), size, bold=bold, color=color) for line in lines]
    paragraph = Image.new("RGB", (width, sum(image.height for image in images)), _PAPER)
    for index, image in enumerate(images):
        paragraph.paste(image, (0, index * image.height))
    return paragraph


def _shorten(text: str, size: int, width: float, *, bold: bool = False) -> str:
    if text_width(text, size, bold) <= width:
        return text
    while text and text_width(text + "…", size, bold) > width:
        text = text[:-1]
    return text + "…"
