"""Utterances of a published corpus as items, their recordings found in its folders or archives.

Transcripts are read at once, recordings when an item's condition is opened. Published sets are read packed or unpacked, and
their recordings are found by their names without suffix, so re-encoded copies (Opus, WAV, …) serve as well. A compressed tar
(``.tar.gz``) is only fast from its beginning to its end: its items come in stored order, which suits evaluation; for training,
which wants them in any order, unpack it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from condgen_cli.data.archives import Member, Tree
from condgen_cli.errors import NotFoundError
from condgen_cli.item import Item
from condgen_transcribe import AUDIO_SUFFIXES

__all__ = ["Utterance", "find_recordings", "to_items"]


class Utterance(NamedTuple):
    """A recording of one sentence or so.

    Args:
        id: the publisher's.
        speaker: the publisher's name or number of who speaks.
        transcript: what is said, as published.
        audio: the recording's file.
    """

    id: str
    speaker: str
    transcript: str
    audio: Member


def to_items(utterances: Iterable[Utterance], places: Iterable[Path], key: Callable[[str], Any]) -> list[Item]:
    """Items sorted by their ids, or as they come where sorting would send a reader to and fro in a compressed tar.

    Args:
        utterances: in stored order.
        places: folders and archives that their recordings lie in.
        key: of an id, what it is sorted by.
    """
    stored = any(place.suffix == ".gz" for place in places)
    ordered = utterances if stored else sorted(utterances, key=lambda utterance: key(utterance.id))
    return [Item(one.id, one.audio, (one.transcript,), source=str(one.audio), meta={"speaker": one.speaker}) for one in ordered]


def find_recordings(tree: Tree, names: dict[str, str], hint: str) -> dict[str, Member]:
    """Recordings of utterances by their files' names without suffix, in stored order.

    Args:
        tree: the folder or archive.
        names: ids by the files' names in the tree, without suffix.
        hint: command or advice for the error.
    Raises:
        NotFoundError: if the recording of an utterance is missing.
    """
    found: dict[str, str] = {}
    for name in tree.names():
        stem = str(PurePosixPath(name).with_suffix(""))
        if stem in names and (stem not in found or _preference(name) < _preference(found[stem])):
            found[stem] = name
    missing = [utterance for name, utterance in names.items() if name not in found]
    if missing:
        raise NotFoundError(f"{tree} lacks {len(missing)} of {len(names)} recordings, such as that of {missing[0]}", hint)
    return {stem: Member(tree, name) for stem, name in found.items()}


def _preference(name: str) -> int:
    """Which of several files of one recording is read: SPHERE last, as not every library knows it."""
    suffix = PurePosixPath(name).suffix.lower()
    return AUDIO_SUFFIXES.index(suffix) if suffix in AUDIO_SUFFIXES else len(AUDIO_SUFFIXES)
