"""What the transcribe command reads: recordings, long ones in parts that end where it is silent."""

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
"""Seconds that one part has at most, about what the training utterances have."""
WHOLE = 6.0
"""A recording of so many seconds isn't cut. What has been trained on short utterances loses its way in longer ones."""


def read(source: str) -> Iterator[Item]:
    """The recording at a path, at a URL or on standard input (``-``), as one item or as several parts; with 0 parts if it is
    silent. Parts are read as they are asked for. What is wrong with a recording is told with its last part.

    ``meta`` has ``start`` and ``end`` of a part, and ``duration`` of the recording as far as it is known, all in seconds.

    Raises:
        InputError: if it is no sound, or nothing of it can be used; after the parts that come before, if that turns out later.
    """
    waiting: Item | None = None
    recording = Recording(Source(source))
    try:
        for number, segment in enumerate(read_segments(recording, RATE, LONGEST, WHOLE)):
            if waiting is not None:
                yield replace(waiting, parts=number + 1)  # more than the part's own number: another follows
            meta = {"start": segment.start, "end": segment.end, "duration": recording.seconds}
            sound = Sound(segment.samples, RATE)
            waiting = Item(id=source, condition=sound, source=source, meta=meta, part=number, parts=number + 1)
    except CondgenError:
        if waiting is not None:
            yield replace(waiting, parts=waiting.parts + 1)  # the error follows
        raise
    last = waiting or Item(id=source, condition=None, source=source, parts=0)
    yield replace(last, warnings=recording.warnings)
