"""Utterances of a published corpus as items, with their recordings in its folders or archives.

Transcripts are read on opening, recordings when an item's condition is opened. Corpora are read packed or unpacked, and
recordings are found by their names without suffix, so re-encoded copies (Opus, WAV, …) work as well. A compressed tar
(``.tar.gz``) is fast only from beginning to end: its items come in stored order, which suits evaluation; unpack it for
training, which reads in random order.
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
        id: the publisher's id.
        speaker: the publisher's name or number of the speaker.
        transcript: transcript as published.
        audio: file of the recording.
    """

    id: str
    speaker: str
    transcript: str
    audio: Member


def to_items(utterances: Iterable[Utterance], places: Iterable[Path], key: Callable[[str], Any]) -> list[Item]:
    """Items sorted by id, or in stored order if recordings are in a compressed tar, where random access is slow.

    Args:
        utterances: utterances in stored order.
        places: folders and archives of the recordings.
        key: sort key of an id.
    """
    stored = any(place.suffix == ".gz" for place in places)
    ordered = utterances if stored else sorted(utterances, key=lambda utterance: key(utterance.id))
    return [Item(one.id, one.audio, (one.transcript,), source=str(one.audio), meta={"speaker": one.speaker}) for one in ordered]


def find_recordings(tree: Tree, names: dict[str, str], hint: str) -> dict[str, Member]:
    """Recordings of utterances by name without suffix, in stored order.

    Args:
        tree: the folder or archive.
        names: ids by file name in the tree, without suffix.
        hint: hint of the error.
    Raises:
        NotFoundError: if an utterance's recording is missing.
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
    """Preference among several files of one recording: SPHERE last, since not all libraries support it."""
    suffix = PurePosixPath(name).suffix.lower()
    return AUDIO_SUFFIXES.index(suffix) if suffix in AUDIO_SUFFIXES else len(AUDIO_SUFFIXES)
