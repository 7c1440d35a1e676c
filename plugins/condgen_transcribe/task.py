"""Input of the transcribe command: recordings, long ones in parts cut at silence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from condgen_cli.data.audio import Recording, Sound, read_segments
from condgen_cli.errors import CondgenError
from condgen_cli.files.sources import Source
from condgen_cli.item import Item
from condgen_transcribe.model import RATE

__all__ = ["read"]

LONGEST = 20.0
"""Longest part, in seconds; about the length of training utterances."""
WHOLE = 6.0
"""Longest recording that isn't cut, in seconds. Models trained on short utterances fail on longer ones."""


def read(source: str, longest: float | None = None) -> Iterator[Item]:
    """The recording at a path, at a URL or on standard input (``-``), as one item or as several parts; 0 parts if it is silent.

    Parts are read on demand. Warnings about the recording come with its last part. ``meta`` has ``start`` and ``end`` of a part
    and the recording's ``duration`` if known, in seconds.

    Args:
        source: path, URL or ``-``.
        longest: longest part in seconds, up to which recordings aren't cut; None: the limits of condgen's own models.
    Raises:
        InputError: if it isn't sound or has no usable part; possibly after the parts before a defect.
    """
    waiting: Item | None = None
    recording = Recording(Source(source))
    try:
        for number, segment in enumerate(read_segments(recording, RATE, longest or LONGEST, longest or WHOLE)):
            if waiting is not None:
                yield replace(waiting, parts=number + 1)  # greater than the part's number: another part follows
            meta = {"start": segment.start, "end": segment.end, "duration": recording.seconds}
            sound = Sound(segment.samples, RATE)
            waiting = Item(id=source, condition=sound, source=source, meta=meta, part=number, parts=number + 1)
    except CondgenError:
        if waiting is not None:
            yield replace(waiting, parts=waiting.parts + 1)  # the error follows
        raise
    last = waiting or Item(id=source, condition=None, source=source, parts=0)
    yield replace(last, warnings=recording.warnings)
