"""Attention as a self-contained page: choosing a word lights up the input where the model attended to it.

If the input consists of tokens, choosing one lights up the output words that attended to it. A sound can be played, and words
light up when the playback reaches the part that they attended to. The frames of a video are in a row, and a word shows the
frame with the largest weight.
"""

from __future__ import annotations

import base64
import math
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from condgen_cli.generation import Axis, Generation
from condgen_cli.render.frames import film
from condgen_cli.render.light import LIGHT, SHADE, SOFTNESS, picture
from condgen_cli.render.lines import heat_color
from condgen_cli.render.panels import Panel, Weights, panels, sum_bins
from condgen_cli.render.pieces import label
from condgen_cli.render.sound import Track, track
from condgen_cli.render.tape import Tape, tape_page
from condgen_cli.render.template import fill_page, script_json
from condgen_cli.render.ticks import ticks

__all__ = ["page"]

_LONGEST_SIDE = 1000
_MOST_COLUMNS = 400
_MOST_CHIPS = 80
_TOKENS_HINT = "A word of the input lights up what was written looking at it; <kbd>↑</kbd> and <kbd>↓</kbd> go there and back."
_SOUND_HINT = "Click on a word to go to the sound it was written from, on the spectrogram to go to any other."
_FRAMES_HINT = "A word goes to the frame that it was written looking at; a frame lights up the words that looked at it."
_PANELS_HINT = "<kbd>1</kbd>, <kbd>2</kbd> … switch between the maps."
_MOST_SECONDS = 180
"""Maximum length of an embedded sound: a minute takes one or two megabytes."""
_SPECTROGRAM_WIDTH = 1000
_LONGEST_FRAME_SIDE = 480
_NOTHING = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
"""Source of the image element if there is no picture."""


def page(generation: Generation, title: str) -> str:
    """The page as HTML, without external resources.

    A picture is embedded as JPEG with at most 1000 pixels on its longer side, frames of a video with at most 480, a sound of
    at most three minutes as FLAC.
    """
    if isinstance(generation.condition, Tape):
        return tape_page(generation, title)
    drawn = panels(generation)
    tracks = [track(panel, generation) for panel in drawn]
    sound = next((found for found in tracks if found), None)
    grid = next((panel for panel in drawn if panel.is_grid), None)
    image = _shrink(picture(generation.condition, grid.weights.shape[1:])) if grid else None
    data: dict[str, Any] = {
        "panels": [_panel_data(panel, generation, below) for panel, below in zip(drawn, tracks, strict=True)],
        "photo": {"width": image.width, "height": image.height} if image else None,
        "softness": SOFTNESS,
        "shade": SHADE,
        "light": LIGHT,
        "heat": ["#{:02x}{:02x}{:02x}".format(*heat_color(level / 255)) for level in range(256)],
    }
    playable = sound if sound and sound.seconds <= _MOST_SECONDS else None
    hints = [_TOKENS_HINT] * any(panel.axes[0].kind == "tokens" for panel in drawn) + [_SOUND_HINT] * bool(playable)
    hints += [_PANELS_HINT] * (len(drawn) > 1)
    hints += [_FRAMES_HINT] * any("frames" in panel for panel in data["panels"])
    if any(panel.is_hops for panel in drawn):  # whose steps don't spell the output
        title = f"{title} · {generation.output}"
    values = {
        "title": escape(title),
        "hint": " ".join(hints),
        "output": escape(str(generation.output)),
        "photo": _data_uri(image) if image else _NOTHING,
        "sound": f' src="{_base64("audio/flac", playable.flac())}"' if playable else "",
        "data": script_json(data),
    }
    return fill_page("condgen_cli.render", "page.html", values)


def _panel_data(panel: Panel, generation: Generation, sound: Track | None) -> dict[str, Any]:
    steps = [_step(panel, generation, step) for step in range(len(panel.steps))]
    if panel.is_grid:
        rows, columns = panel.weights.shape[1:]
        flat = panel.weights.reshape(len(panel.steps), -1)
        place = {"kind": "grid", "rows": rows, "columns": columns}
    else:
        flat, size = sum_bins(panel.weights, _MOST_COLUMNS)
        place = _line_data(panel.axes[0], flat.shape[1], size)
        place["joined"] = list(panel.joined[1][::size])
        place["texts"] = list(panel.words[1]) if size == 1 else place["names"]
        place |= _sound_data(sound, size, flat.shape[1]) if sound else {}
        if clip := film(panel, generation):
            place["frames"] = [_data_uri(_shrink(frame, _LONGEST_FRAME_SIDE)) for frame in clip.frames]
    return {"title": panel.title, "steps": steps, "weights": _round_values(flat), "peaks": _round_values(flat.max(1)), **place}


def _line_data(axis: Axis, columns: int, size: int) -> dict[str, Any]:
    """A row of positions for the page: names of all columns, and marks for those that are labelled above the matrix."""
    all_named = axis.kind == "tokens" or columns <= _MOST_CHIPS
    marks = ticks(axis, 12 if axis.kind == "time" or not all_named else columns)
    return {
        "kind": "line",
        "axis": axis.kind,
        "name": axis.name,
        "columns": columns,
        "names": [_bin_name(axis, start, min(start + size, len(axis)) - 1) for start in range(0, len(axis), size)],
        "marks": [(position // size, name) for position, name in marks],
        "chips": axis.kind != "time" and all_named,
    }


def _sound_data(sound: Track, size: int, columns: int) -> dict[str, Any]:
    """The edges of the columns in seconds from the beginning of the sound, and the spectrogram above them."""
    edges = [round(float(edge), 4) for edge in sound.column_edges(size)]
    return {"edges": edges, "spectrogram": _data_uri(sound.spectrogram(size, max(columns, _SPECTROGRAM_WIDTH)))}


def _bin_name(axis: Axis, first: int, last: int) -> str:
    unit = "s" if axis.kind == "time" else ""
    names = [label(axis.labels[index]) for index in sorted({first, last})]
    return "–".join(names) + unit


def _step(panel: Panel, generation: Generation, step: int) -> dict[str, Any]:
    probability = None
    if len(generation.log_probs) == len(panel.steps) and math.isfinite(generation.log_probs[step]):
        probability = round(math.exp(min(generation.log_probs[step], 0.0)), 4)
    facts = [] if probability is None else [("probability", f"{probability:.2f}")]
    facts.append(("entropy", f"{_entropy(panel.weights[step]):.2f} bits"))
    facts += [(name, f"{values[step]:.2f}") for name, values in generation.extras.items() if len(values) == len(panel.steps)]
    hop = f"{panel.step_axis[0]} {panel.steps[step]}" if panel.is_hops else None
    return {
        "word": hop or panel.steps[step],
        "text": hop or panel.words[0][step],
        "joined": panel.joined[0][step],
        "probability": probability,
        "facts": facts,
        "strongest": _strongest(panel, step),
    }


def _entropy(weights: Weights) -> float:
    total = weights.sum()
    shares = weights[weights > 0] / total if total > 0 else weights[:0].ravel()
    return abs(float((shares * np.log2(shares)).sum()))


def _strongest(panel: Panel, step: int) -> str:
    flat = panel.weights[step].ravel()
    order = np.argsort(-flat, kind="stable")[:3]
    return ", ".join(f"{_place(panel, int(cell))} ({flat[cell]:.2g})" for cell in order)


def _place(panel: Panel, cell: int) -> str:
    indices = np.unravel_index(cell, panel.weights.shape[1:])
    if panel.is_grid:
        return " ".join(f"{axis.name} {label(axis.labels[index])}" for axis, index in zip(panel.axes, indices, strict=True))
    return _bin_name(panel.axes[0], cell, cell)


def _round_values(weights: Weights) -> Any:
    """Round to four significant digits, so that the page stays small."""
    digits = [float(f"{value:.4g}") for value in weights.ravel()]
    return np.array(digits).reshape(weights.shape).tolist()


def _shrink(image: Image.Image, longest: int = _LONGEST_SIDE) -> Image.Image:
    scale = min(1.0, longest / max(image.size))
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.LANCZOS)


def _data_uri(image: Image.Image) -> str:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return _base64("image/jpeg", buffer.getvalue())


def _base64(kind: str, content: bytes) -> str:
    return f"data:{kind};base64," + base64.b64encode(content).decode("ascii")
