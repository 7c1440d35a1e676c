"""Times of words, from the attention of their tokens, and subtitles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby, pairwise
from math import inf
from textwrap import wrap
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from condgen_cli.data.subwords import BLANK, UNKNOWN
from condgen_cli.data.text import SPECIALS
from condgen_cli.errors import InputError
from condgen_cli.generation import AttentionMap, Generation
from condgen_cli.item import Item

__all__ = ["Cue", "Word", "align", "make_cues", "srt", "time_words", "vtt"]

_LINE = 42
"""Largest number of characters of a line, as is usual in broadcasting; a longer word gets a line of its own."""
_LINES = 2
_LONGEST = 7.0
"""Longest duration of a cue, in seconds."""
_SHORTEST = 1.0
"""Shortest duration of a cue, in seconds, unless the next one begins earlier."""
_PAUSE = 0.8
"""Pause between words that ends a cue, in seconds."""
_FAINT = 1e-6
"""Added to attention weights before their logarithm is taken, so that no path is impossible."""
_STRAY = 0.05
"""Penalty in nats per position of distance from a step's largest weight, so that displaced steps stay near it."""

# duration in seconds: of a word, plus each of its letters
_FASTEST = 0.04, 0.02
"""Shortest durations, those of very fast speech."""
_USUAL = 0.05, 0.06
"""Usual durations, given room before the next word: attention shows when a token begins, but hardly when it ends."""


class Word(TypedDict):
    """A word and its times, in seconds from the beginning of the recording."""

    word: str
    start: float
    end: float


class Cue(NamedTuple):
    """Lines shown together; times in milliseconds from the beginning of the recording."""

    start: int
    end: int
    text: str


def time_words(generation: Generation, item: Item) -> list[Word]:
    """The words of a transcript with their times, in order and without overlap.

    A word lasts from the position of its first token to that of its last, along the best path of ``align``, and at least as
    long as in very fast speech: attention that stays in one place, as it may at the end of a part, doesn't squeeze words.

    Args:
        generation: transcript of one part of a recording. Without attention over time there are no words.
        item: item of the part; ``meta["end"]`` is the end of the part in seconds.
    """
    map = next((one for one in generation.attention.values() if [axis.kind for axis in one.positions] == ["time"]), None)
    if map is None:
        return []
    steps = [step for step, token in enumerate(generation.tokens) if token == SPECIALS[3] or token not in SPECIALS]
    pieces = list(_split_pieces(generation.tokens[step] for step in steps))
    end = float(item.meta.get("end", inf))
    found: list[Word] = []
    for (letters, begins), (start, stop) in zip(pieces, _time_steps(map, steps, pieces, end), strict=True):
        if begins:
            found.append(Word(word=letters, start=start, end=stop))
        elif letters:
            found[-1] = Word(word=found[-1]["word"] + letters, start=found[-1]["start"], end=stop)
    limits = [*(word["start"] for word in found[1:]), end]
    return [_extend_to_usual(word, limit) for word, limit in zip(found, limits, strict=False)]


def _split_pieces(pieces: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """The letters of each token, and whether a word begins with them."""
    inside = False
    for piece in pieces:
        inside = inside and not piece.startswith(BLANK)
        letters = UNKNOWN if piece == SPECIALS[3] else piece.replace(BLANK, "")
        yield letters, bool(letters) and not inside
        inside = inside or bool(letters)


def _extend_to_usual(word: Word, limit: float) -> Word:
    """The word with at least its usual duration, as far as there is room before ``limit``."""
    usual = word["start"] + _USUAL[0] + _USUAL[1] * len(word["word"])
    return Word(word=word["word"], start=word["start"], end=round(max(word["end"], min(usual, limit)), 3))


def align(weights: NDArray[np.floating], least: Sequence[int] | None = None) -> NDArray[np.int64]:
    """The position of each step on the monotonic path with the largest product of weights.

    Attention in speech is almost always monotonic; where a step's isn't, the path stays near those around it. Weights far from
    a step's largest are slightly reduced.

    Args:
        weights: (steps, positions) non-negative weights, with at least one position.
        least: (steps,) smallest number of positions of each step before the next step or the end; their sum, with the last one
            counted as at least 1, is at most the number of positions. Default: 0.
    Returns:
        (steps,) positions in non-decreasing order.
    """
    steps, positions = weights.shape
    least = [0] * steps if least is None else least
    places = np.arange(positions)
    gains = np.log(weights + _FAINT) - _STRAY * np.abs(places - weights.argmax(1)[:, None])
    before = np.zeros((steps, positions), np.int64)
    total = np.zeros(positions)
    for step, gain in enumerate(gains):
        # the best position of the previous step up to each position, the first of equals
        best = np.maximum.accumulate(total)
        new = np.append(True, best[1:] > best[:-1])
        apart = least[step - 1] if step else 0
        before[step, apart:] = np.maximum.accumulate(np.where(new, places, 0))[: positions - apart]
        total = np.append(np.full(apart, -np.inf), best[: positions - apart]) + gain
    path = np.zeros(steps, np.int64)
    place = int(total[: positions - max(least[-1] - 1, 0)].argmax()) if steps else 0
    for step in reversed(range(steps)):
        path[step] = place
        place = before[step, place]
    return path


def _time_steps(
    map: AttentionMap, steps: list[int], pieces: Sequence[tuple[str, bool]], end: float
) -> Iterator[tuple[float, float]]:
    """Start and end of steps in seconds, at most the part's ``end``."""
    (axis,) = map.positions
    if not len(axis):
        return
    labels = np.array([float(label) for label in axis.labels])
    width = float(np.diff(labels).mean()) if len(labels) > 1 else 0.0
    path = align(map.distributions()[steps].mean(1), _min_positions(pieces, width, len(axis))).tolist()
    for place, same in groupby(path):
        count = len(list(same))
        bounds = labels[place] + width * np.arange(count + 1) / count
        yield from pairwise(bounds.clip(max=end).round(3).tolist())


def _min_positions(pieces: Sequence[tuple[str, bool]], width: float, positions: int) -> list[int]:
    """Smallest number of positions of ``width`` seconds for each token, scaled down if the part is too short for all."""
    seconds = np.array([_FASTEST[0] * begins + _FASTEST[1] * len(letters) for letters, begins in pieces])
    if not len(seconds) or not width:
        return [0] * len(seconds)
    ends = np.cumsum(seconds) / width
    ends = np.floor(ends * min(1.0, (positions - 1) / max(ends[-1], 1.0)) + 0.5)
    least = np.diff(ends.clip(max=positions - 1), prepend=0).astype(int).tolist()
    return [*least[:-1], max(least[-1], 1)]


def make_cues(transcripts: Iterable[Generation]) -> Iterator[Cue]:
    """Cues of at most two lines and 7 seconds, ended by a pause or the end of a part.

    Args:
        transcripts: parts of a recording in order, with ``details["words"]``. A part's last cue is yielded with the next part.
    Raises:
        InputError: if words have no times, as of a model without attention over time.
    """
    found = (cue for transcript in transcripts for cue in _cues_of(transcript))
    for cue, following in pairwise(chain(found, [None])):
        assert cue is not None
        end = min(max(cue.end, cue.start + round(1000 * _SHORTEST)), cue.start + round(1000 * _LONGEST))
        yield cue._replace(end=end if following is None else min(end, following.start))


def srt(transcripts: Iterable[Generation]) -> Iterator[str]:
    """A SubRip file of a recording, cue by cue."""
    for number, cue in enumerate(make_cues(transcripts), 1):
        yield f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{cue.text}\n\n"


def vtt(transcripts: Iterable[Generation]) -> Iterator[str]:
    """A WebVTT file of a recording, cue by cue."""
    yield "WEBVTT\n\n"
    for cue in make_cues(transcripts):
        text = cue.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        yield f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{text}\n\n"


def _cues_of(transcript: Generation) -> Iterator[Cue]:
    said = transcript.details.get("words", [])  # none in a part without sound
    if transcript.output and not said:
        raise InputError("the model has no attention over time, so its words have no times")
    taken: list[Word] = []
    for word in said:
        if taken and not _fits(taken, word):
            yield _cue(taken)
            taken = []
        taken.append(word)
    if taken:
        yield _cue(taken)


def _fits(taken: list[Word], word: Word) -> bool:
    near = word["start"] - taken[-1]["end"] < _PAUSE and word["end"] - taken[0]["start"] <= _LONGEST
    return near and len(_lines([*taken, word])) <= _LINES


def _lines(taken: list[Word]) -> list[str]:
    return wrap(" ".join(word["word"] for word in taken), _LINE, break_long_words=False, break_on_hyphens=False)


def _cue(taken: list[Word]) -> Cue:
    return Cue(round(1000 * taken[0]["start"]), round(1000 * taken[-1]["end"]), "\n".join(_lines(taken)))


def _clock(milliseconds: int, separator: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{separator}{rest:03}"
