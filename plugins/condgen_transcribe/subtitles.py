"""When words were said, from the attention over their pieces; and subtitles made of them."""

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
"""Characters that a line holds, as broadcasters have it; a longer word has a line of its own."""
_LINES = 2
_LONGEST = 7.0
"""Seconds that a cue is shown at most."""
_SHORTEST = 1.0
"""Seconds that a cue is shown at least, if the next one doesn't begin before."""
_PAUSE = 0.8
"""Seconds without a word that end a cue."""
_FAINT = 1e-6
"""What a weight of 0 counts as, so that no path is impossible."""
_STRAY = 0.05
"""Nats that a position counts less for each that it is away from where a step looks most: what has to make room stays near."""

# seconds that a word takes, and each of its letters more
_FASTEST = 0.04, 0.02
"""At least, as when somebody speaks very fast."""
_USUAL = 0.05, 0.06
"""Where what follows leaves room: attention tells when a piece begins, and hardly when it ends."""


class Word(TypedDict):
    """A word and when it was said, in seconds from the recording's beginning."""

    word: str
    start: float
    end: float


class Cue(NamedTuple):
    """Lines that are shown together, in milliseconds from the recording's beginning."""

    start: int
    end: int
    text: str


def time_words(generation: Generation, item: Item) -> list[Word]:
    """The words of a transcript with their times, in order, none overlapping another.

    A word is said from where its first piece looks to where its last one does, along the best path of ``align``, and no faster
    than anybody speaks: attention that stays in one place, as it may at the end of a part, doesn't squeeze words into it.

    Args:
        generation: of one part of a recording. Without attention over time there are no words.
        item: ``meta["end"]`` is where the part ends, in seconds.
    """
    map = next((one for one in generation.attention.values() if [axis.kind for axis in one.positions] == ["time"]), None)
    if map is None:
        return []
    steps = [step for step, token in enumerate(generation.tokens) if token == SPECIALS[3] or token not in SPECIALS]
    said = list(_split_pieces(generation.tokens[step] for step in steps))
    end = float(item.meta.get("end", inf))
    found: list[Word] = []
    for (letters, begins), (start, stop) in zip(said, _time_steps(map, steps, said, end), strict=True):
        if begins:
            found.append(Word(word=letters, start=start, end=stop))
        elif letters:
            found[-1] = Word(word=found[-1]["word"] + letters, start=found[-1]["start"], end=stop)
    limits = [*(word["start"] for word in found[1:]), end]
    return [_extend_to_usual(word, limit) for word, limit in zip(found, limits, strict=False)]


def _split_pieces(pieces: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """The letters of each piece, and whether a word begins with them."""
    inside = False
    for piece in pieces:
        inside = inside and not piece.startswith(BLANK)
        letters = UNKNOWN if piece == SPECIALS[3] else piece.replace(BLANK, "")
        yield letters, bool(letters) and not inside
        inside = inside or bool(letters)


def _extend_to_usual(word: Word, limit: float) -> Word:
    """The word, for as long as it usually takes if there is room before ``limit``."""
    usual = word["start"] + _USUAL[0] + _USUAL[1] * len(word["word"])
    return Word(word=word["word"], start=word["start"], end=round(max(word["end"], min(usual, limit)), 3))


def align(weights: NDArray[np.floating], least: Sequence[int] | None = None) -> NDArray[np.int64]:
    """The position of each step on the path that never goes back and has the largest product of weights.

    Attention goes forward in speech all but always; where it strays, the path stays with what was said around it. Weights far
    from a step's largest count a little less.

    Args:
        weights: (steps, positions), non-negative, with at least one position.
        least: (steps,) how many positions each step takes at least, before the next one's or the end; together no more than
            there are, the last one counting as 1 or more. Default: 0.
    Returns:
        (steps,) positions, none smaller than the one before.
    """
    steps, positions = weights.shape
    least = [0] * steps if least is None else least
    places = np.arange(positions)
    gains = np.log(weights + _FAINT) - _STRAY * np.abs(places - weights.argmax(1)[:, None])
    before = np.zeros((steps, positions), np.int64)
    total = np.zeros(positions)
    for step, gain in enumerate(gains):
        # the best place of the last step up to each place, the first of equals
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
    map: AttentionMap, steps: list[int], said: Sequence[tuple[str, bool]], end: float
) -> Iterator[tuple[float, float]]:
    """Start and end of some steps, in seconds, before the part's ``end``."""
    (axis,) = map.positions
    if not len(axis):
        return
    labels = np.array([float(label) for label in axis.labels])
    width = float(np.diff(labels).mean()) if len(labels) > 1 else 0.0
    path = align(map.distributions()[steps].mean(1), _min_positions(said, width, len(axis))).tolist()
    for place, same in groupby(path):
        count = len(list(same))
        bounds = labels[place] + width * np.arange(count + 1) / count
        yield from pairwise(bounds.clip(max=end).round(3).tolist())


def _min_positions(said: Sequence[tuple[str, bool]], width: float, positions: int) -> list[int]:
    """How many positions of ``width`` seconds each piece takes at least, if the part is long enough for all."""
    seconds = np.array([_FASTEST[0] * begins + _FASTEST[1] * len(letters) for letters, begins in said])
    if not len(seconds) or not width:
        return [0] * len(seconds)
    ends = np.cumsum(seconds) / width
    ends = np.floor(ends * min(1.0, (positions - 1) / max(ends[-1], 1.0)) + 0.5)
    least = np.diff(ends.clip(max=positions - 1), prepend=0).astype(int).tolist()
    return [*least[:-1], max(least[-1], 1)]


def make_cues(transcripts: Iterable[Generation]) -> Iterator[Cue]:
    """Words as cues: two lines at most, 7 seconds at most, ended by a pause or a part's end.

    Args:
        transcripts: the parts of a recording in order, with ``details["words"]``; each one's cues but its last come with it.
    Raises:
        InputError: if words have no times, since the model has no attention over time.
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
    said = transcript.details.get("words", [])  # a part without sound has none
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
